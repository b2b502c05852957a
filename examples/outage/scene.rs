//! The outage, and those who live through it.

use std::ops::Range;
use std::time::Duration;

use steadfast_tests::world::{Arrivals, ClientKind, Condition, Report, Server, Service, World, millis, seconds};

pub(crate) const TITLE: &str = "A server stops answering for one minute. What do its clients do to it?";
pub(crate) const SETTING: &str = "1,000 clients, each with one call a second. The server can serve 1,500 requests a \
                                  second, and is slower for half a minute after it comes back.";

/// Calls begun in a second by all clients together.
pub(crate) const NORMAL: f64 = 1_000.0;
/// Requests that a well server can serve in a second: 150 at a time, 100 ms each.
pub(crate) const CAPACITY: f64 = 1_500.0;
/// When the server does not answer.
pub(crate) const OUTAGE: Range<u64> = 60..120;
/// How many seconds are played and shown: two minutes after the outage, since who has not recovered by then needs help.
pub(crate) const LASTS: u64 = 240;

/// One kind of client, and what came of it.
pub(crate) struct Played {
    pub(crate) name: &'static str,
    pub(crate) does: &'static str,
    pub(crate) report: Report,
}

/// Plays the same outage through each kind of client.
pub(crate) fn play() -> Vec<Played> {
    let world = world();
    let play = |kind: ClientKind| {
        let (name, does) = match kind {
            ClientKind::ImmediateRetry => ("Retry at once", "up to 4 attempts, no pause between them"),
            ClientKind::Backoff => ("Backoff", "up to 4 attempts, after 0.1, 0.2, 0.4 s"),
            ClientKind::BackoffWithJitter => ("Backoff with jitter", "up to 4 attempts, after random pauses"),
            ClientKind::Standard => ("steadfast's defaults", "the same, and it leaves a dead server alone"),
        };
        Played { name, does, report: world.play(|_| kind.pipeline()) }
    };
    ClientKind::ALL.map(play).into()
}

/// The outage is the kind that hurts: connections are accepted and nothing comes back, so clients find out by waiting.
/// The server serves what it accepted in order of arrival, also when the client has long since given up. 20,000 requests
/// can wait: more than it can serve within the 10 s that a client listens.
fn world() -> World {
    World::new()
        .clients(1_000)
        .arrivals(Arrivals::RandomPhase(seconds(1)))
        .server(Server::with_slots(150).service(Service::Exponential(millis(100))).queue(20_000).latency(millis(5)))
        .with(seconds(OUTAGE.start)..seconds(OUTAGE.end), Condition::Hangs)
        .with(seconds(OUTAGE.end)..seconds(OUTAGE.end + 30), Condition::Cold { percent: 30 })
        .lasting(seconds(LASTS))
        .seed(1)
}

/// How many more requests there were in the outage than calls, or how many fewer.
pub(crate) fn extra_load(report: &Report) -> String {
    let percent = report.extra_load_percent().unwrap_or_default();
    format!("{}{:.0} %", if percent < 0.0 { '−' } else { '+' }, percent.abs())
}

/// The fullest second of outage and recovery, as a multiple of the normal load.
pub(crate) fn peak(report: &Report) -> f64 {
    report.peak_in_outage().unwrap_or_default().max(report.peak_in_recovery().unwrap_or_default())
}

/// How long after the outage all is well again, if it ever is.
pub(crate) fn recovery(report: &Report) -> Option<String> {
    report.time_to_recover().map(|time: Duration| format!("{} s", time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_tells_the_truth() {
        let played = play();
        let (others, standard) = played.split_at(3);
        for Played { name, report, .. } in others {
            assert_eq!(report.time_to_recover(), None, "{name}: the server stays down under its queue");
            assert!(report.extra_load_percent().is_some_and(|extra| extra > 100.0), "{name}");
        }
        let report = &standard[0].report;
        assert!(report.time_to_recover().is_some_and(|time| time <= seconds(15)));
        assert!(report.extra_load_percent().is_some_and(|extra| extra <= 0.0));
        assert_eq!(report.normal_load(), Some(NORMAL));
        assert_eq!(report.seconds.len() as u64, LASTS);
    }
}
