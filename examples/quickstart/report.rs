//! What the user reads: what is about to happen, what came of it, and one line for machines.

use std::cmp::Reverse;
use std::time::Duration;

use crate::campaign::Campaign;
use crate::settings::{SERVER_RATE, Settings};
use crate::target::Sightings;

/// How many reasons, and how many calls for each, are named before the rest is only counted.
const NAMED: usize = 10;

/// One side of the comparison.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) campaign: Campaign,
    pub(crate) sightings: Sightings,
}

pub(crate) fn introduction(settings: &Settings) -> String {
    let Settings { url, calls, concurrency, rate, seed } = settings;
    let server = match url {
        Some(url) => url.to_string(),
        None => format!("a local server that fails on purpose and admits {SERVER_RATE} requests per second"),
    };
    format!(
        "{calls} calls, {concurrency} at a time, to {server}:\n\
         first bare, then with steadfast at {rate} per second. Seed {seed}."
    )
}

/// The table, what failed, and the line for machines.
pub(crate) fn comparison(bare: &Side, steadfast: &Side) -> String {
    let parts = [
        table(bare, steadfast),
        why_calls_failed(&bare.campaign),
        which_calls_failed(&steadfast.campaign),
        machine_line(bare, steadfast),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn table(bare: &Side, steadfast: &Side) -> String {
    let early_retries = |side: &Side| side.sightings.early_retries.map(|count| count.to_string());
    // A server that is not ours cannot be asked, and what it gave as Retry-After is known to each call alone.
    let witness = match early_retries(bare) {
        Some(_) => "server's count",
        None => "client's count",
    };
    let row = |label: &str, value: &dyn Fn(&Side) -> String| [label.to_owned(), value(bare), value(steadfast)];
    let rows = [
        row("", &|side| side.campaign.label.to_owned()),
        row("calls that succeeded", &|side| side.campaign.succeeded().to_string()),
        row("attempts", &|side| side.campaign.attempts.to_string()),
        row("retries", &|side| side.campaign.retries.to_string()),
        row("latency of successful calls, p50", &|side| latency(&side.campaign, 50)),
        row("latency of successful calls, p99", &|side| latency(&side.campaign, 99)),
        row(&format!("most requests in one second ({witness})"), &|side| side.sightings.peak_per_second.to_string()),
        row(&format!("answered 429 ({witness})"), &|side| side.sightings.rejected.to_string()),
        row("retries before their Retry-After", &|side| early_retries(side).unwrap_or_else(|| "unknown".to_owned())),
    ];
    let width = rows.iter().map(|[label, ..]| label.len()).max().unwrap_or_default();
    rows.map(|[label, bare, steadfast]| format!("{label:width$}{bare:>12}{steadfast:>12}\n")).concat()
}

fn latency(campaign: &Campaign, percent: usize) -> String {
    let millis = |latency: Duration| format!("{:.1} ms", latency.as_secs_f64() * 1e3);
    campaign.percentile(percent).map_or_else(|| "-".to_owned(), millis)
}

/// One line, as calls that fail are what this side is here to show.
fn why_calls_failed(campaign: &Campaign) -> String {
    if campaign.failures.is_empty() {
        return String::new();
    }
    let reasons = by_frequency(campaign).into_iter().map(|(reason, calls)| format!("{} × {reason}", calls.len()));
    format!("{} calls failed: {}\n", campaign.label, named(reasons))
}

/// A line for each reason, with the numbers of the calls.
fn which_calls_failed(campaign: &Campaign) -> String {
    if campaign.failures.is_empty() {
        return String::new();
    }
    let failures = by_frequency(campaign);
    let mut lines = vec![format!("{} of {} {} calls failed:", campaign.failed(), campaign.calls, campaign.label)];
    for (reason, calls) in failures.iter().take(NAMED) {
        lines.push(format!("  {} × {reason}: calls {}", calls.len(), named(calls.iter().map(u32::to_string))));
    }
    if let Some(more @ 1..) = failures.len().checked_sub(NAMED) {
        lines.push(format!("  and {more} more reasons"));
    }
    lines.join("\n") + "\n"
}

fn by_frequency(campaign: &Campaign) -> Vec<(&String, &Vec<u32>)> {
    let mut failures: Vec<_> = campaign.failures.iter().collect();
    failures.sort_by_key(|(_, calls)| Reverse(calls.len()));
    failures
}

/// The first few, and how many more there are.
fn named(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(NAMED);
    let list = items.take(NAMED).collect::<Vec<_>>().join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}

fn machine_line(bare: &Side, steadfast: &Side) -> String {
    format!(
        "bare_ok={} steadfast_ok={} calls={} server_peak_per_second={} server_rejected_429={}",
        bare.campaign.succeeded(),
        steadfast.campaign.succeeded(),
        steadfast.campaign.calls,
        steadfast.sightings.peak_per_second,
        steadfast.sightings.rejected,
    )
}
