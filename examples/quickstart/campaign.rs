//! Many calls, some at a time, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep_until};

use crate::progress::Progress;

/// What became of the calls of one side.
#[derive(Debug)]
pub(crate) struct Campaign {
    pub(crate) label: &'static str,
    pub(crate) calls: u32,
    /// Attempts of all calls that ended.
    pub(crate) attempts: u64,
    /// Attempts after the first of each call.
    pub(crate) retries: u64,
    /// The calls that failed, in ascending order, by the reason why.
    pub(crate) failures: BTreeMap<String, Vec<u32>>,
    /// How long each call took that succeeded, in ascending order.
    latencies: Vec<Duration>,
}

/// Why a call failed, and after how many attempts.
#[derive(Debug)]
pub(crate) struct CallFailed {
    pub(crate) attempts: u32,
    pub(crate) reason: String,
}

/// Makes the calls 0 to `calls`, of which `concurrency` are under way at a time, and gives up on what is left at `end`.
///
/// `call` makes one of them, and tells how many attempts that took.
pub(crate) async fn run<F, C>(label: &'static str, calls: u32, concurrency: usize, end: Instant, call: F) -> Campaign
where
    F: Fn(u32) -> C,
    C: Future<Output = Result<u32, CallFailed>> + Send + 'static,
{
    let start = Instant::now();
    let second = Duration::from_secs(1);
    let mut seconds = interval_at(start + second, second);
    let progress = Progress::start(label, calls);
    let mut campaign =
        Campaign { label, calls, attempts: 0, retries: 0, failures: BTreeMap::new(), latencies: Vec::new() };
    let mut waiting = 0..calls;
    let mut unfinished: BTreeSet<_> = waiting.clone().collect();
    let mut under_way = JoinSet::new();

    loop {
        for index in waiting.by_ref().take(concurrency - under_way.len()) {
            let call = call(index);
            under_way.spawn(async move {
                let start = Instant::now();
                let result = call.await;
                (index, result, start.elapsed())
            });
        }
        tokio::select! {
            ended = under_way.join_next() => {
                let Some(ended) = ended else { break };
                let (index, result, latency) = ended.expect("a call that does not panic");
                unfinished.remove(&index);
                campaign.note(index, result, latency);
                progress.advance(&campaign);
            }
            _ = seconds.tick() => progress.second(&campaign),
            () = sleep_until(end) => break,
        }
    }
    under_way.shutdown().await;
    if !unfinished.is_empty() {
        let reason = format!("given up after {:.0} s, the time for all calls", (end - start).as_secs_f64());
        campaign.failures.insert(reason, unfinished.into_iter().collect());
    }
    campaign.latencies.sort_unstable();
    campaign.failures.values_mut().for_each(|calls| calls.sort_unstable());
    progress.end(&campaign);
    campaign
}

impl Campaign {
    fn note(&mut self, index: u32, result: Result<u32, CallFailed>, latency: Duration) {
        let attempts = match result {
            Ok(attempts) => {
                self.latencies.push(latency);
                attempts
            }
            Err(CallFailed { attempts, reason }) => {
                self.failures.entry(reason).or_default().push(index);
                attempts
            }
        };
        self.attempts += u64::from(attempts);
        self.retries += u64::from(attempts.saturating_sub(1));
    }

    pub(crate) fn succeeded(&self) -> usize {
        self.latencies.len()
    }

    pub(crate) fn failed(&self) -> usize {
        self.failures.values().map(Vec::len).sum()
    }

    /// The time within which `percent` of the successful calls were done; `None` if there were none.
    pub(crate) fn percentile(&self, percent: usize) -> Option<Duration> {
        percentile(&self.latencies, percent)
    }
}

/// By nearest rank: the smallest of the `sorted` values that is no smaller than `percent` of them.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::{CallFailed, Duration, Instant, percentile, run};

    #[tokio::test]
    async fn every_call_is_made_once_and_no_more_than_allowed_are_under_way() {
        let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let end = Instant::now() + Duration::from_secs(20);
        let campaign = run("test", 40, 3, end, |index| {
            let (under_way, most) = (Arc::clone(&under_way), Arc::clone(&most));
            async move {
                most.fetch_max(under_way.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::task::yield_now().await;
                under_way.fetch_sub(1, SeqCst);
                match index % 4 {
                    0 => Err(CallFailed { attempts: 3, reason: "every fourth".to_owned() }),
                    1 => Ok(2),
                    _ => Ok(1),
                }
            }
        })
        .await;
        assert_eq!(most.load(SeqCst), 3);
        assert_eq!((campaign.succeeded(), campaign.failed()), (30, 10));
        assert_eq!((campaign.attempts, campaign.retries), (30 + 20 + 20, 20 + 10));
        assert_eq!(campaign.failures["every fourth"], [0, 4, 8, 12, 16, 20, 24, 28, 32, 36]);
    }

    #[tokio::test]
    async fn calls_that_are_left_at_the_end_have_failed() {
        let end = Instant::now() + Duration::from_millis(20);
        let campaign =
            run("test", 5, 2, end, |index| async move { if index == 0 { Ok(1) } else { pending().await } }).await;
        assert_eq!((campaign.succeeded(), campaign.failed()), (1, 4));
        assert_eq!(campaign.failures.values().next(), Some(&vec![1, 2, 3, 4]));
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        for (count, percent, want) in [
            (0, 50, None),
            (1, 1, Some(1)),
            (1, 99, Some(1)),
            (2, 50, Some(1)),
            (2, 51, Some(2)),
            (100, 50, Some(50)),
            (100, 99, Some(99)),
            (101, 99, Some(100)),
            (400, 99, Some(396)),
            (400, 100, Some(400)),
        ] {
            let sorted: Vec<_> = (1..=count).map(Duration::from_millis).collect();
            assert_eq!(percentile(&sorted, percent), want.map(Duration::from_millis), "{percent} % of {count}");
        }
    }
}
