//! The service: what a program that talks to a model sees of the API.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast::{
    ApiClient, Auth, EventStream, Idempotency, Pipeline, Quota, RequestBuilder, ReqwestTransport, Response, TokioTimer,
};

/// What an account may use, as its page on the provider's site says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) requests: u32,
    pub(crate) tokens: u32,
    /// A minute, wherever somebody is paid for it.
    pub(crate) per: Duration,
}

impl Limits {
    /// What an account has that has paid for the first time.
    pub(crate) const TIER_1: Self = Self { requests: 500, tokens: 200_000, per: Duration::from_secs(60) };
}

/// One message of a conversation.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) content: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    System,
    User,
    Assistant,
}

impl Message {
    pub(crate) fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }
}

/// What is asked of the model.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub(crate) messages: Vec<Message>,
    /// How long the answer may be.
    pub(crate) max_tokens: u32,
}

impl Prompt {
    pub(crate) fn user(content: impl Into<String>, max_tokens: u32) -> Self {
        Self { messages: vec![Message::user(content)], max_tokens }
    }

    /// The most that it can cost, or nearly: a token is seldom less than three characters, and each message has a few around it.
    pub(crate) fn weight(&self) -> NonZeroU32 {
        let characters: usize = self.messages.iter().map(|message| message.content.chars().count() + 12).sum();
        let prompt = u32::try_from(characters / 3).unwrap_or(u32::MAX);
        NonZeroU32::MIN.saturating_add(prompt.saturating_add(self.max_tokens))
    }
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Completion {
    pub(crate) text: String,
    pub(crate) usage: Usage,
}

/// What an answer cost.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    pub(crate) total_tokens: u32,
}

/// Why there is no answer.
///
/// The API's own message is shown, but for that about a key: it may repeat some of that.
#[derive(Debug)]
pub(crate) enum ChatError {
    /// The key is missing, wrong or revoked.
    NotAuthorised,
    /// The API finds fault with the request, or has failed, and says so in its own words.
    Api { status: u16, code: String, message: String },
    /// The stream ended before the answer did.
    CutOff,
    /// The API has said nothing, or nothing that can be understood.
    Call(steadfast::Error),
}

/// A chat API that is compatible with `OpenAI`'s.
#[derive(Clone, Debug)]
pub(crate) struct ChatService {
    client: ApiClient<ReqwestTransport, TokioTimer>,
    model: &'static str,
}

impl ChatService {
    pub(crate) const MODEL: &'static str = "gpt-4o-mini";

    /// A service at `base_url`, which ends with the version: `https://api.openai.com/v1`.
    pub(crate) fn new(base_url: &str, key: &str, limits: Limits) -> Result<Self, Box<dyn std::error::Error>> {
        // Requests a few at a time, since providers count them by the second, too. Tokens at once, or a long prompt would
        // never fit.
        let requests = Quota::new(limits.requests, limits.per)?.with_burst((limits.requests / 60).max(1))?;
        let tokens = Quota::new(limits.tokens, limits.per)?.with_burst(limits.tokens)?;
        let client = steadfast::client(base_url)?
            .auth(Auth::bearer(key)?)
            .pipeline(Pipeline::for_llm_api(requests, tokens)?.build()?)
            .build()?;
        Ok(Self { client, model: Self::MODEL })
    }

    /// Asks, and waits for the whole answer.
    pub(crate) async fn complete(&self, prompt: &Prompt) -> Result<Completion, ChatError> {
        // Asked twice it costs twice, and does no harm.
        let request = self.request(prompt, None).idempotency(Idempotency::Idempotent).cost(total_tokens);
        let answer: Answer = request.send().await?.json()?;
        let text = answer.choices.into_iter().next().map(|choice| choice.message.content);
        Ok(Completion { text: text.unwrap_or_default(), usage: answer.usage })
    }

    /// Asks, and has the answer in the pieces in which the model writes it.
    ///
    /// It is asked once: nobody wants to read the beginning of another answer after half of one.
    pub(crate) fn stream(&self, prompt: &Prompt) -> ChatStream<'_> {
        let options = StreamOptions { include_usage: true };
        ChatStream { events: self.request(prompt, Some(options)).events(), usage: None, has_ended: false }
    }

    fn request(
        &self,
        prompt: &Prompt,
        stream_options: Option<StreamOptions>,
    ) -> RequestBuilder<'_, ReqwestTransport, TokioTimer, ()> {
        let Prompt { messages, max_tokens } = prompt;
        let (model, stream) = (self.model, stream_options.is_some());
        let question = Question { model, messages, max_completion_tokens: *max_tokens, stream, stream_options };
        self.client.post("chat/completions").json(&question).weight(prompt.weight())
    }
}

/// An answer as it is written.
pub(crate) struct ChatStream<'a> {
    events: EventStream<'a, ReqwestTransport, TokioTimer, ()>,
    usage: Option<Usage>,
    has_ended: bool,
}

impl ChatStream<'_> {
    /// The next piece; `None` at the end, and after an error.
    pub(crate) async fn next(&mut self) -> Option<Result<String, ChatError>> {
        while !self.has_ended {
            match self.piece().await {
                Ok(Some(text)) => return Some(Ok(text)),
                Ok(None) => {}
                Err(error) => {
                    self.has_ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// What the answer cost, once it is whole.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// What the next event says, if that is text.
    async fn piece(&mut self) -> Result<Option<String>, ChatError> {
        let event = self.events.next().await.ok_or(ChatError::CutOff)??;
        if event.data == "[DONE]" {
            self.has_ended = true;
            return Ok(None);
        }
        let Ok(chunk) = serde_json::from_str::<Chunk>(&event.data) else {
            return Err(ChatError::of_body(200, event.data.as_bytes()).unwrap_or(ChatError::CutOff));
        };
        if let Some(usage) = chunk.usage {
            self.events.settle(usage.total_tokens);
            self.usage = Some(usage);
        }
        Ok(chunk.choices.into_iter().find_map(|choice| choice.delta.content))
    }
}

/// What a response says that it cost.
fn total_tokens(response: &Response) -> Option<u32> {
    Some(response.json::<Answer>().ok()?.usage.total_tokens)
}

impl ChatError {
    /// What the API says in the body of an error.
    fn of_body(status: u16, body: &[u8]) -> Option<Self> {
        let Refusal { error } = serde_json::from_slice(body).ok()?;
        let code = error.code.or(error.kind).unwrap_or_default();
        Some(Self::Api { status, code, message: error.message })
    }
}

impl From<steadfast::Error> for ChatError {
    fn from(error: steadfast::Error) -> Self {
        if let steadfast::Error::Authentication(_) = error {
            return Self::NotAuthorised;
        }
        let said = error.failure().and_then(|failure| Self::of_body(failure.status()?.as_u16(), failure.body()));
        said.unwrap_or(Self::Call(error))
    }
}

impl fmt::Display for ChatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAuthorised => f.write_str("the key is missing, wrong or revoked"),
            Self::Api { status, code, message } => write!(f, "{status} {code}: {message}"),
            Self::CutOff => f.write_str("the stream ended before the answer did"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChatError {}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    messages: &'a [Message],
    max_completion_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
    usage: Usage,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Chunk {
    choices: Vec<Delta>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Delta {
    delta: Content,
}

#[derive(Deserialize)]
struct Content {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    message: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
}
