//! The risks that the specification names, each with a test that would notice: leaks, races, memory, a slow limiter.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use steadfast::core::concurrency::ConcurrencyLimit;
use steadfast::{
    ApiClient, CallOptions, Error, KeyedRateLimit, ManualClock, Outcome, Pipeline, Quota, RequestBody, SharedPipeline,
    SmolTimer, TokenBucket, Transport, TransportError,
};

use crate::support::{Tasks, World, millis, ms, quota};

/// Answers at once, from memory.
#[derive(Clone, Copy, Debug)]
struct Echo;

impl Transport for Echo {
    type Body = Full<Bytes>;
    type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;

    fn send(&self, _request: Request<RequestBody>) -> Self::Sending {
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"{}")))))
    }
}

/// Answers after a few other tasks have had their turn, and counts how many it has at once.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Here(Arc<Counts>);

impl Here {
    fn new(counts: &Arc<Counts>) -> Self {
        let now = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Transport for Counting {
    type Body = Full<Bytes>;
    type Sending = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, TransportError>> + Send>>;

    fn send(&self, _request: Request<RequestBody>) -> Self::Sending {
        let counts = Arc::clone(&self.0);
        Box::pin(async move {
            let _here = Here::new(&counts);
            for _ in 0..3 {
                smol::future::yield_now().await;
            }
            Ok(Response::new(Full::new(Bytes::from_static(b"{}"))))
        })
    }
}

/// Resource leaks. Would catch: anything that a call leaves behind, in the client, its limits, its line or its breaker.
#[test]
fn risk_leaks_a_call_leaves_no_memory_behind() {
    let clock = ManualClock::new();
    let limit = TokenBucket::new(Quota::per_second(1_000_000).unwrap().with_burst(100).unwrap());
    let slots = ConcurrencyLimit::fixed(8).build().unwrap();
    let pipeline = Pipeline::builder().rate_limit(limit).concurrency_limit(slots).build().unwrap();
    let client = ApiClient::builder("https://api.example.com", Echo, &clock).pipeline(pipeline).build().unwrap();
    let calls = |calls: u32| {
        for _ in 0..calls {
            clock.drive(client.get("items").send()).unwrap().unwrap();
            clock.advance(millis(1));
        }
    };
    calls(100); // What is set up once.
    let counted = allocation_counter::measure(|| calls(10_000));
    assert_eq!((counted.bytes_current, counted.count_current), (0, 0), "{counted:?}");
}

/// Race conditions under high concurrency. Would catch: a limit that admits one more, a call that is lost, hangs, or is
/// counted twice, when threads make calls, drop them and shut the client down at the same time.
#[test]
fn risk_races_calls_drops_and_a_shutdown_from_many_threads() {
    const THREADS: usize = 8;
    const CALLS: usize = 200;
    for round in 0..5 {
        let transport = Counting::default();
        let slots = ConcurrencyLimit::fixed(3).build().unwrap();
        let pipeline = Pipeline::builder().concurrency_limit(slots).build().unwrap();
        let timer = SmolTimer::new();
        let client = ApiClient::builder("https://api.example.com", transport.clone(), timer).pipeline(pipeline);
        let client = client.build().unwrap();
        let (begin, ok, stopped) = (Barrier::new(THREADS + 1), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (client, begin, ok, stopped) = (client.clone(), &begin, &ok, &stopped);
                scope.spawn(move || {
                    begin.wait();
                    for call in 0..CALLS {
                        if (thread + call) % 7 == 0 {
                            // Polled once, and given up wherever it stands.
                            drop(smol::block_on(smol::future::poll_once(client.get("x").send())));
                            continue;
                        }
                        match smol::block_on(client.get("x").send()) {
                            Ok(_) => ok.fetch_add(1, Ordering::SeqCst),
                            Err(Error::ShutDown(_) | Error::Cancelled(_)) => stopped.fetch_add(1, Ordering::SeqCst),
                            Err(other) => panic!("{other}"),
                        };
                    }
                });
            }
            begin.wait();
            // In the first rounds at once, in the last when most is done.
            while ok.load(Ordering::SeqCst) < round * 200 {
                thread::yield_now();
            }
            smol::block_on(client.shut_down(Duration::from_secs(20)));
            assert_eq!((client.running(), transport.0.now.load(Ordering::SeqCst)), (0, 0));
        });
        let given_up = (0..THREADS).flat_map(|t| (0..CALLS).map(move |c| t + c)).filter(|sum| sum % 7 == 0).count();
        assert_eq!(ok.into_inner() + stopped.into_inner() + given_up, THREADS * CALLS);
        assert!(transport.0.most.load(Ordering::SeqCst) <= 3);
        assert_eq!((client.running(), client.waiting()), (0, 0));
    }
}

/// Memory use with many clients. Would catch: a client that sets something large up for itself, or forgets it.
#[test]
fn risk_memory_a_thousand_clients_take_a_few_kilobytes_each() {
    let clock = ManualClock::new();
    let mut clients = Vec::with_capacity(1_000);
    let client = || {
        let client = ApiClient::builder("https://api.example.com", Echo, &clock).build().unwrap();
        clock.drive(client.get("items").send()).unwrap().unwrap();
        client
    };
    drop(client()); // What is set up once for all.
    let counted = allocation_counter::measure(|| clients.extend((0..1_000).map(|_| client())));
    assert!(counted.bytes_current < 1_000 * 4096, "{counted:?}");
    let freed = allocation_counter::measure(|| clients.clear());
    assert_eq!(-freed.bytes_current, counted.bytes_current, "all of it comes back");
}

/// Memory use with many keys. Would catch: a table that grows with the keys that were ever seen.
#[test]
fn risk_memory_a_million_keys_take_no_more_than_ten_thousand() {
    let clock = ManualClock::new();
    let limit = KeyedRateLimit::new(Quota::per_second(1_000).unwrap(), 10_000, &clock);
    let keys = |keys: std::ops::Range<u64>| {
        for key in keys {
            let _ = limit.try_acquire(key, 1);
            clock.advance(Duration::from_nanos(1));
        }
    };
    let counted = allocation_counter::measure(|| keys(0..1_000_000));
    // The room for keys is the same in each of its 32 parts, so it is rounded up.
    assert!(limit.len() < 10_000 + 32 && counted.bytes_max < 10_000 * 128, "{} keys, {counted:?}", limit.len());
}

/// A slow limiter. Would catch: one that wakes everybody for each token, or whose work grows with the length of its line:
/// it would be polled more often, and take minutes.
#[test]
fn risk_slow_limiter_each_of_ten_thousand_calls_in_line_is_polled_a_few_times() {
    const CALLS: usize = 10_000;
    let world = World::default();
    let limit = TokenBucket::new(quota(1, millis(1), 1));
    let pipeline = Pipeline::builder().without_deadline().rate_limit(limit).build().unwrap();
    let pipeline = SharedPipeline::with_seed(pipeline, world.clone(), 7);
    let mut tasks = Tasks::new(&world);
    for _ in 0..CALLS {
        let call = pipeline.call(
            CallOptions::idempotent(),
            |_: &Result<(), Infallible>| Outcome::success(),
            |_| async { Ok::<_, Infallible>(()) },
        );
        tasks.spawn(async { call.await.map(drop).map_err(drop) });
    }
    tasks.run_until(ms(CALLS as u64));
    for (turn, task) in tasks.tasks.iter().enumerate() {
        assert_eq!(task.done, Some((ms(turn as u64), Ok(()))), "call {turn}");
        assert!(task.polls <= 4, "call {turn} was polled {} times", task.polls);
    }
}
