//! A whole client from a file, and from the next one while it runs.

use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use steadfast_client::{ApiClient, RequestBody, Transport, TransportError};
use steadfast_config::{ClientConfig, ConfigError, read};
use steadfast_core::time::{Clock, Instant, ManualClock, Timer};

/// A server that answers everything at once, and remembers what it was sent.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<(String, HeaderMap)>>>);

impl Transport for Server {
    type Body = Full<Bytes>;
    type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;

    fn send(&self, request: Request<RequestBody>) -> Self::Sending {
        self.0.lock().unwrap().push((request.uri().to_string(), request.headers().clone()));
        ready(Ok(Response::default()))
    }
}

fn parsed(text: &str) -> Result<ClientConfig, ConfigError> {
    read(toml::Deserializer::parse(text).expect("TOML"))
}

type Client<'a> = ApiClient<Server, &'a ManualClock>;

fn client_of<'a>(config: &ClientConfig, server: &Server, clock: &'a ManualClock) -> Result<Client<'a>, ConfigError> {
    let environment = |name: &str| Some(format!("s3cret-{name}")).filter(|_| name != "NOWHERE");
    let builder = ApiClient::builder(config.base_url.as_str(), server.clone(), clock);
    Ok(config.apply_with(builder, environment)?.build().expect("a client"))
}

const FULL: &str = r#"
base_url = "https://api.example.com/v1"
auth.bearer = { env = "API_TOKEN" }
headers = { x-tenant = "blue", x-signing-key = { env = "SIGNING_KEY" } }
user_agent = "probe/2"
redirects = { follow = "same_origin", at_most = 3 }
idempotency_keys = { form = "quoted", field = "Request-Key" }
request_ids = "x-request-id"
attempt_counts = "x-attempt"
max_body = 1000
max_replay = 10
read_timeout = "5s"
longest_hold = "1h"
seed = 7
pipeline.rate_limits = ["1/s"]
endpoints.search.rate_limits = ["1/s"]
"#;

#[test]
fn a_file_sets_up_the_whole_client_and_secrets_come_from_the_environment() {
    let (clock, server) = (ManualClock::new(), Server::default());
    let config = parsed(FULL).unwrap();
    let client = client_of(&config, &server, &clock).unwrap();
    clock.drive(client.post("items").send()).unwrap().unwrap();
    let (uri, headers) = server.0.lock().unwrap().remove(0);
    assert_eq!(uri, "https://api.example.com/v1/items");
    for (name, value) in [
        ("authorization", "Bearer s3cret-API_TOKEN"),
        ("x-tenant", "blue"),
        ("x-signing-key", "s3cret-SIGNING_KEY"),
        ("user-agent", "probe/2"),
        ("x-attempt", "1"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(headers["x-signing-key"].is_sensitive() && headers["authorization"].is_sensitive());
    assert!(headers["request-key"].to_str().unwrap().starts_with('"') && headers.contains_key("x-request-id"));
    let shown = format!("{config:?} {client:?} {}", toml::to_string(&config).unwrap());
    assert!(!shown.contains("s3cret") && shown.contains("API_TOKEN"), "{shown}");

    let read_again: ClientConfig = parsed(&toml::to_string(&config).unwrap()).unwrap();
    assert_eq!(read_again, config);
    let in_json = serde_json::to_string(&config).unwrap();
    assert_eq!(read::<ClientConfig, _>(&mut serde_json::Deserializer::from_str(&in_json)), Ok(config));
}

#[test]
fn every_way_to_say_who_is_calling() {
    for (auth, field, want) in [
        ("basic = { user = \"ann\", password = { env = \"P\" } }", Some("authorization"), "Basic YW5uOnMzY3JldC1Q"),
        ("api_key = { field = \"x-key\", key = { env = \"K\" } }", Some("x-key"), "s3cret-K"),
        ("api_key_in_query = { name = \"key\", key = { env = \"K\" } }", None, "https://a.example/?key=s3cret-K"),
    ] {
        let (clock, server) = (ManualClock::new(), Server::default());
        let config = parsed(&format!("base_url = \"https://a.example\"\n[auth]\n{auth}")).unwrap();
        clock.drive(client_of(&config, &server, &clock).unwrap().get("").send()).unwrap().unwrap();
        let (uri, headers) = server.0.lock().unwrap().remove(0);
        assert_eq!(field.map_or(&*uri, |field| headers[field].to_str().unwrap()), want);
    }
    let (clock, server) = (ManualClock::new(), Server::default());
    let oauth2 = "token_url = \"https://login.example/token\", client_id = \"app\", client_secret = { env = \"S\" }";
    let config = parsed(&format!("base_url = \"https://a.example\"\nauth.oauth2 = {{ {oauth2}, scope = \"read\" }}"));
    let shown = format!("{:?}", client_of(&config.unwrap(), &server, &clock).unwrap());
    assert!(shown.contains("https://login.example/token"), "{shown}");
}

#[test]
fn a_secret_that_was_written_down_is_refused_and_not_repeated() {
    let base = "base_url = \"https://a.example\"\n";
    for (text, path) in [
        (format!("{base}auth.bearer = \"s3cret\""), "auth.bearer"),
        (format!("{base}auth.bearer = 53"), "auth.bearer"),
        (format!("{base}auth.basic = {{ user = \"ann\", password = \"s3cret\" }}"), "auth.basic.password"),
        (format!("{base}headers.Authorization = \"Bearer s3cret\""), "headers"),
        (format!("{base}headers.x-api-key = \"s3cret\""), "headers"),
        (format!("{base}headers.x-api-key = 53"), "headers.x-api-key"),
        (format!("{base}headers.x-api-key = 5.3"), "headers.x-api-key"),
        (format!("{base}headers = \"x-api-key: s3cret\""), "headers"),
        (format!("{base}auth = \"s3cret\""), "auth"),
        (format!("{base}auth = 53"), "auth"),
        (format!("{base}auth.basic = \"ann:s3cret\""), "auth.basic"),
        (format!("{base}auth.api_key = \"s3cret\""), "auth.api_key"),
        (format!("{base}auth.api_key_in_query = 53"), "auth.api_key_in_query"),
        (format!("{base}auth.oauth2 = \"s3cret\""), "auth.oauth2"),
        (format!("{base}auth.oauth2.token_url = \"https://app:s3cret@a.example\""), "auth.oauth2.token_url"),
        ("base_url = \"https://ann:s3cret@a.example\"".to_owned(), "base_url"),
        ("base_url = \"https://a.example?key=s3cret\"".to_owned(), "base_url"),
    ] {
        let error = parsed(&text).expect_err(&text);
        assert_eq!(error.path(), path, "{error}");
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("s3cret") && !shown.contains("53"), "{shown}");
        }
    }
}

#[test]
fn what_the_environment_or_the_client_refuses_is_named_by_its_path() {
    let (clock, server) = (ManualClock::new(), Server::default());
    let base = "base_url = \"https://a.example\"\n";
    for (text, want) in [
        ("auth.bearer = { env = \"NOWHERE\" }", "auth.bearer: the environment has no variable NOWHERE"),
        ("headers.x-key = { env = \"NOWHERE\" }", "headers.x-key: the environment has no variable NOWHERE"),
        ("pipeline.circuit_breaker.probes = 9", "pipeline.circuit_breaker.probes: probes is 9, which is not 1 to 8"),
        (
            "[endpoints.search.retry]\nmax_attempts = 0",
            "endpoints.search.retry.max_attempts: max_attempts is 0, which is not at least 1",
        ),
    ] {
        let config = parsed(&format!("{base}{text}")).unwrap();
        assert_eq!(client_of(&config, &server, &clock).expect_err(text).to_string(), want);
    }
    let missing = parsed("seed = 1").unwrap_err().to_string();
    assert!(missing.contains("missing field `base_url`"), "{missing}");
}

#[test]
fn the_next_file_reaches_those_who_wait_and_debts_are_kept() {
    let (clock, server) = (ManualClock::new(), Server::default());
    let mut config = parsed(FULL).unwrap();
    let client = client_of(&config, &server, &clock).unwrap();
    let ended = clock.drive(async {
        let call = |path| {
            let (client, clock) = (&client, &clock);
            async move {
                client.get(path).send().await.unwrap();
                (clock.now() - Instant::EPOCH).as_millis()
            }
        };
        let reload = async {
            (&clock).sleep_until(Instant::EPOCH + Duration::from_millis(500)).await;
            let next = FULL.replace("pipeline.rate_limits = [\"1/s\"]", "pipeline.rate_limits = [\"10/s\"]");
            let next = parsed(&next).unwrap();
            config.reload(&client, next.clone()).unwrap();
            assert_eq!(config, next);
        };
        let calls = join_all(["a", "b", "c", "search", "search", "d"].map(call));
        join(calls, reload).await.0
    });
    assert_eq!(ended.unwrap(), [0, 550, 650, 0, 1_000, 750]);
}

#[test]
fn a_client_keeps_to_as_many_limits_as_its_file_says_and_they_change_while_it_runs() {
    let (clock, server) = (ManualClock::new(), Server::default());
    let file = |tokens| {
        let llm = format!("preset.llm_api = {{ requests = \"1/s\", tokens = \"{tokens}/s\" }}");
        let three = "rate_limits = [\"1/s\", \"2/s\", \"3/s\"]";
        parsed(&format!("base_url = \"https://a.example\"\n[pipeline]\n{llm}\n[endpoints.b]\n{three}")).unwrap()
    };
    let mut config = file(5);
    let client = client_of(&config, &server, &clock).unwrap();
    config.reload(&client, file(6)).unwrap();
    let mut fewer = file(6);
    fewer.endpoints.get_mut("b").unwrap().rate_limits.as_mut().unwrap().pop();
    let why = "rate_limits cannot be changed while calls go by it: limits that calls wait for can neither come nor go";
    assert_eq!(config.reload(&client, fewer).unwrap_err().to_string(), format!("endpoints.b.rate_limits: {why}"));
    let five = "base_url = \"https://a.example\"\npipeline.rate_limits = [\"1/s\", \"1/s\", \"1/s\", \"1/s\", \"1/s\"]";
    let error = client_of(&parsed(five).unwrap(), &server, &clock).unwrap_err();
    assert_eq!(error.to_string(), "pipeline.rate_limits: there are 5, and a client keeps to 4 at most");
}

#[test]
fn a_bad_next_file_changes_nothing() {
    let (clock, server) = (ManualClock::new(), Server::default());
    let mut config = parsed(FULL).unwrap();
    let client = client_of(&config, &server, &clock).unwrap();
    let was = config.clone();
    let faster = FULL.replace("pipeline.rate_limits = [\"1/s\"]", "pipeline.rate_limits = [\"10/s\"]");
    for (from, to, want) in [
        ("seed = 7", "seed = 8", "seed: it cannot be changed while the client lives: build another"),
        ("\"API_TOKEN\"", "\"OTHER\"", "auth: it cannot be changed while the client lives: build another"),
        (
            "endpoints.search.rate_limits = [\"1/s\"]",
            "endpoints.search.deadline = \"0s\"",
            "endpoints.search.deadline: deadline is 0ns, which is not more than zero",
        ),
        (
            "endpoints.search.rate_limits = [\"1/s\"]",
            "endpoints.search.deadline = \"60s\"",
            "endpoints.search.rate_limits: rate_limits cannot be changed while calls go by it: \
             limits that calls wait for can neither come nor go",
        ),
        (
            "endpoints.search.rate_limits = [\"1/s\"]",
            "",
            "endpoints./v1/search: it is missing, and calls go through its pipeline",
        ),
        (
            "endpoints.search.",
            "endpoints.find.rate_limits = [\"1/s\"]\nendpoints.search.",
            "endpoints.find: it had no pipeline when the client was built",
        ),
    ] {
        let next = parsed(&faster.replace(from, to)).unwrap();
        assert_eq!(config.reload(&client, next).expect_err(to).to_string(), want);
        assert_eq!(config, was);
    }
    for want in [0, 1_000, 2_000] {
        clock.drive(client.get("a").send()).unwrap().unwrap();
        assert_eq!((clock.now() - Instant::EPOCH).as_millis(), want, "still one a second");
    }
}
