//! The calls as most programs make them: one request each, and whatever happens, happens.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::campaign::{self, CallFailed, Campaign};
use crate::settings::Settings;
use crate::target::Target;

pub(crate) async fn bare_side(settings: &Settings, target: &Arc<Target>, end: Instant) -> Campaign {
    let client = client();
    campaign::run("bare", settings.calls, settings.concurrency, end, |index| {
        let (client, target) = (client.clone(), Arc::clone(target));
        async move {
            match get(&client, &target, index).await {
                Ok(()) => Ok(1),
                Err(reason) => Err(CallFailed { attempts: 1, reason }),
            }
        }
    })
    .await
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .no_proxy()
        .build()
        .expect("a client without TLS needs nothing that can be missing")
}

/// One request, and its answer to the last byte.
async fn get(client: &reqwest::Client, target: &Target, index: u32) -> Result<(), String> {
    target.attempt_sent();
    let response = client.get(target.url(index)).send().await.map_err(|error| innermost(&error))?;
    let status = response.status();
    target.attempt_answered(status);
    if !status.is_success() {
        return Err(status.to_string());
    }
    let body = response.bytes().await.map_err(|error| innermost(&error))?;
    target.check(&body)
}

/// What happened at the bottom of it, without the layers above.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    match root.downcast_ref::<io::Error>() {
        // Without the number that the system gives it.
        Some(error) if error.raw_os_error().is_some() => error.kind().to_string(),
        _ => root.to_string(),
    }
}
