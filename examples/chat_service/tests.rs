//! The service against its stub.

use std::time::Duration;

use futures_util::future::join_all;

use crate::service::{ChatError, ChatService, ChatStream, Limits, Prompt, Usage};
use crate::stub::{ANSWER, KEY, Stub};

/// More than any test needs, in a minute of a second.
const AMPLE: Limits = Limits { requests: 60_000, tokens: 1_000_000, per: Duration::from_secs(1) };

fn prompt(max_tokens: u32) -> Prompt {
    Prompt::user("What does the quick brown fox do?", max_tokens)
}

fn chat(stub: &Stub, key: &str, limits: Limits) -> ChatService {
    ChatService::new(&stub.base_url(), key, limits).expect("settings that can be")
}

/// Everything that a stream brings.
async fn read(mut stream: ChatStream<'_>) -> (String, Option<Usage>, Option<ChatError>) {
    let mut text = String::new();
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => text += &piece,
            Err(error) => {
                assert!(stream.next().await.is_none(), "after an error comes nothing more");
                return (text, stream.usage(), Some(error));
            }
        }
    }
    (text, stream.usage(), None)
}

/// The code with which the API refuses a question.
async fn refusal(chat: &ChatService, prompt: &Prompt) -> (u16, String) {
    match chat.complete(prompt).await {
        Err(ChatError::Api { status, code, .. }) => (status, code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_comes_whole_or_in_pieces_and_says_what_it_cost() {
    let stub = Stub::start(AMPLE).expect("a free port");
    let chat = chat(&stub, KEY, AMPLE);
    let usage = Usage { prompt_tokens: 8, completion_tokens: 12, total_tokens: 20 };
    let whole = chat.complete(&prompt(60)).await.expect("an answer");
    assert_eq!((&*whole.text, whole.usage), (ANSWER, usage));
    let (text, cost, error) = read(chat.stream(&prompt(60))).await;
    assert_eq!((&*text, cost), (ANSWER, Some(usage)), "{error:?}");
    let (text, cost, error) = read(chat.stream(&prompt(2))).await;
    assert_eq!((&*text, cost.map(|usage| usage.completion_tokens)), ("The quick ", Some(2)), "{error:?}");
}

#[tokio::test]
async fn four_hundred_calls_at_once_meet_no_refusal() {
    // A minute of two seconds. What the calls weigh is more than it has, and what they cost is less.
    let limits = Limits { requests: 4_000, tokens: 16_000, per: Duration::from_secs(2) };
    let stub = Stub::start(limits).expect("a free port");
    let chat = chat(&stub, KEY, limits);
    let prompt = prompt(40);
    assert!(400 * prompt.weight().get() > limits.tokens + limits.tokens / 4);
    let answers = join_all((0..400).map(|_| chat.complete(&prompt))).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.is_ok()).count(),
        400,
        "{:?}",
        answers.iter().find(|a| a.is_err())
    );
    let seen = stub.seen();
    assert_eq!((seen.answered, seen.limited), (400, 0));
}

#[tokio::test]
async fn what_others_use_of_the_account_is_read_from_the_responses() {
    let limits = Limits { requests: 4_000, tokens: 4_000, per: Duration::from_secs(2) };
    let stub = Stub::start(limits).expect("a free port");
    let chat = chat(&stub, KEY, limits);
    stub.spend(3_900);
    // Its response says that nearly nothing is left: the others wait until the server has more.
    chat.complete(&prompt(20)).await.expect("there is as much");
    let question = prompt(60);
    let answers = join_all((0..20).map(|_| chat.complete(&question))).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    assert_eq!(stub.seen().limited, 0);
}

#[tokio::test]
async fn a_refusal_is_waited_out_and_an_overload_is_retried() {
    let stub = Stub::overloaded(AMPLE, Some(4)).expect("a free port");
    let chat = chat(&stub, KEY, AMPLE);
    for _ in 0..6 {
        chat.complete(&prompt(60)).await.expect("the second attempt is answered");
    }
    assert!(stub.seen().overloaded > 0);

    // Nothing has told the service yet that nothing is left.
    let limits = Limits { tokens: 1_000, ..AMPLE };
    let stub = Stub::start(limits).expect("a free port");
    stub.spend(1_000);
    let chat = self::chat(&stub, KEY, limits);
    chat.complete(&prompt(60)).await.expect("it waits as long as it is told to");
    assert_eq!((stub.seen().limited, stub.seen().answered), (1, 1));
}

#[tokio::test]
async fn the_apis_own_words_are_in_its_errors() {
    let stub = Stub::start(AMPLE).expect("a free port");
    let chat = chat(&stub, KEY, AMPLE);
    assert_eq!(refusal(&chat, &prompt(100_000)).await, (400, "invalid_value".to_owned()));
    let (text, usage, error) = read(chat.stream(&prompt(100_000))).await;
    assert_eq!((&*text, usage), ("", None));
    assert_eq!(error.expect("one").to_string(), "400 invalid_value: max_completion_tokens is too large: 100000");
    let elsewhere = ChatService::new(&format!("{}/elsewhere", stub.base_url()), KEY, AMPLE).expect("it can be");
    assert_eq!(refusal(&elsewhere, &prompt(60)).await, (404, "unknown_url".to_owned()));
}

#[tokio::test]
async fn no_key_is_in_any_output() {
    let stub = Stub::start(AMPLE).expect("a free port");
    let wrong = "sk-wrong-0123456789";
    let chat = chat(&stub, wrong, AMPLE);
    let error = chat.complete(&prompt(60)).await.expect_err("the key is wrong");
    assert!(matches!(error, ChatError::NotAuthorised));
    let (_, _, streamed) = read(chat.stream(&prompt(60))).await;
    let good = self::chat(&stub, KEY, AMPLE);
    let refused = good.complete(&prompt(100_000)).await.expect_err("it is too long");
    let nobody = ChatService::new("http://127.0.0.1:1/v1", KEY, AMPLE).expect("it can be");
    let unreachable = nobody.complete(&prompt(60)).await.expect_err("nobody is there");
    for shown in [
        format!("{error} {error:?}"),
        format!("{streamed:?}"),
        format!("{refused} {refused:?}"),
        format!("{unreachable} {unreachable:?}"),
        format!("{chat:?} {good:?}"),
    ] {
        for part in [KEY, wrong, "5vFq2cW8", "6789"] {
            assert!(!shown.contains(part), "{part} is in {shown}");
        }
    }
}
