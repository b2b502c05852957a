//! The same calls with steadfast.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use steadfast::core::outcome::OutcomeKind;
use steadfast::{
    ApiClient, Budget, Error, Event, Failure, Instant, Observer, Pipeline, Quota, Rejected, ReqwestTransport,
    TokenBucket, TokioTimer,
};

use crate::bare_side::innermost;
use crate::campaign::{self, CallFailed, Campaign};
use crate::settings::Settings;
use crate::target::Target;

/// How many requests may go at once after a rest.
const BURST: u32 = 10;

/// The server answers within milliseconds, if at all.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

type Client = ApiClient<ReqwestTransport, TokioTimer, Watch>;

pub(crate) async fn steadfast_side(
    settings: &Settings,
    target: &Arc<Target>,
    end: tokio::time::Instant,
) -> Result<Campaign, Box<dyn std::error::Error>> {
    let client = client(settings, target)?;
    Ok(campaign::run("steadfast", settings.calls, settings.concurrency, end, |index| {
        let (client, target) = (client.clone(), Arc::clone(target));
        async move { get(&client, &target, index).await }
    })
    .await)
}

fn client(settings: &Settings, target: &Arc<Target>) -> Result<Client, Box<dyn std::error::Error>> {
    let limit = TokenBucket::new(Quota::per_second(settings.rate)?.with_burst(BURST)?);
    // This server fails about every seventh request for as long as it lives. Whoever knows that may repeat more, and more
    // at once, than the default, which is made for servers that are down.
    let budget = Budget::ratio().percent(50).reserve(30, Duration::from_secs(1)).build()?;
    let pipeline = Pipeline::builder().rate_limit(limit).attempt_timeout(ATTEMPT_TIMEOUT).budget(budget).build()?;
    let transport = ReqwestTransport::with_client(ReqwestTransport::builder().no_proxy().build()?).without_redirects();
    let client = ApiClient::builder(&target.origin(), transport, TokioTimer::new())
        .pipeline(pipeline)
        .observer(Watch(Arc::clone(target)))
        .seed(settings.seed)
        .build()?;
    Ok(client)
}

/// One call, and how many attempts it took.
async fn get(client: &Client, target: &Target, index: u32) -> Result<u32, CallFailed> {
    let response = client.get(&target.url(index)).send().await.map_err(|error| CallFailed {
        attempts: error.failure().map_or(0, Failure::attempts),
        reason: reason(&error),
    })?;
    let attempts = response.attempts();
    target.check(response.bytes()).map(|()| attempts).map_err(|reason| CallFailed { attempts, reason })
}

/// What calls that failed alike have in common: not which one it was, and no times.
fn reason(error: &Error) -> String {
    let what = match (error, error.status()) {
        (Error::CircuitOpen(_), _) => return "the circuit breaker was open, so no attempt was made".to_owned(),
        (Error::AttemptTimeout(_), _) => "the attempt timed out".to_owned(),
        (Error::Connection { source, .. }, _) => innermost(&**source),
        (_, Some(status)) => status.to_string(),
        (_, None) => error.to_string(),
    };
    match error.failure().and_then(Failure::rejected) {
        Some(Rejected::CircuitOpen { .. }) => format!("{what}, and then the circuit breaker was open"),
        Some(Rejected::AttemptsSpent { max_attempts }) => format!("{what}, and so the last of {max_attempts} attempts"),
        _ => what,
    }
}

/// Tells the target of every attempt.
#[derive(Debug)]
struct Watch(Arc<Target>);

impl Observer for Watch {
    type Call = ();

    fn observe(&self, _now: Instant, event: &Event) {
        match event {
            Event::AttemptStarted { .. } => self.0.attempt_sent(),
            Event::AttemptEnded { outcome: OutcomeKind::Throttled, .. } => {
                self.0.attempt_answered(StatusCode::TOO_MANY_REQUESTS);
            }
            _ => {}
        }
    }
}
