//! Other settings for a client whose calls are under way.

use futures_util::future::join_all;
use steadfast_client::NotReconfigured;
use steadfast_core::pipeline::Pipeline;
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::time::{Clock, Instant, ManualClock, Timer};

use super::script::Does::Answers;
use super::script::Script;
use super::{BASE, ms};
use steadfast_client::ApiClient;

fn per_second(tokens: u32) -> Pipeline {
    Pipeline::builder().rate_limit(TokenBucket::new(Quota::per_second(tokens).unwrap())).build().unwrap()
}

#[test]
fn each_pipeline_goes_over_to_its_own_settings_while_calls_wait() {
    let (clock, script) = (ManualClock::new(), Script::new(&[Answers(200, &[], "{}"); 8]));
    let builder = ApiClient::builder(BASE, script, &clock).pipeline(per_second(1));
    let client = builder.endpoint("search", per_second(1)).endpoint("search/code", per_second(1)).build().unwrap();
    let ended = clock.drive(async {
        let call = |path| {
            let (client, clock) = (&client, &clock);
            async move {
                client.get(path).send().await.unwrap();
                clock.now() - Instant::EPOCH
            }
        };
        let change = async {
            (&clock).sleep_until(Instant::EPOCH + ms(500)).await;
            // In another order, and spelt otherwise.
            let endpoints = [("/search/code/", 2), ("search", 10)];
            let endpoints = endpoints.map(|(path, tokens)| (path.to_owned(), per_second(tokens).into()));
            client.reconfigure(&per_second(5).into(), &endpoints).unwrap();
            ms(0)
        };
        let paths = ["a", "search", "search/code", "b", "search/b", "search/code/b"];
        let calls = join_all(paths.map(call));
        futures_util::future::join(calls, change).await.0
    });
    assert_eq!(ended.unwrap(), [0, 0, 0, 600, 550, 750].map(ms));
}

#[test]
fn endpoints_neither_come_nor_go_and_with_one_refusal_nothing_changes() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let builder = || ApiClient::builder(BASE, script.clone(), &clock).pipeline(per_second(1));
    let client = builder().endpoint("search", per_second(1)).build().unwrap();
    let endpoint = |path: &str, pipeline: Pipeline| (path.to_owned(), pipeline.into());
    for (others, endpoints, want) in [
        (per_second(2), vec![], "endpoint /v1/search: it is missing, and calls go through its pipeline"),
        (
            per_second(2),
            vec![endpoint("search", per_second(2)), endpoint("find?key=SECRET", per_second(2))],
            "endpoint find: it had no pipeline when the client was built",
        ),
        (
            per_second(2),
            vec![endpoint("search", per_second(2)), endpoint("/search", per_second(2))],
            "endpoint /search: it is there twice",
        ),
        (
            per_second(2),
            vec![endpoint("search", Pipeline::standard())],
            "endpoint search: rate_limits cannot be changed while calls go by it: \
             limits that calls wait for can neither come nor go",
        ),
        (
            Pipeline::standard(),
            vec![endpoint("search", per_second(2))],
            "rate_limits cannot be changed while calls go by it: limits that calls wait for can neither come nor go",
        ),
    ] {
        let refused: NotReconfigured = client.reconfigure(&others.into(), &endpoints).unwrap_err();
        assert_eq!(refused.to_string(), want);
    }
    // Still one a second, of both.
    for (path, want) in [("a", 0), ("search", 0), ("a", 1_000), ("search", 1_000)] {
        clock.drive(client.get(path).send()).unwrap().unwrap();
        assert_eq!(clock.now() - Instant::EPOCH, ms(want), "{path}");
    }
}
