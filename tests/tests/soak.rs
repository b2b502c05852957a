//! A small soak on each stack. `cargo run --release -p steadfast-tests --bin soak` is the large one.

use steadfast_tests::conformance::transport::Stack;
use steadfast_tests::soak::{Left, Length, soak};

use crate::stack::{HyperSmol, HyperTokio, Reqwest};
use crate::support::alone;

const CALLS: u64 = 2_000;

/// How many bytes the thread of the calls has allocated and not given back. So few calls say nothing by the memory of the
/// process, which is the other way to ask.
fn bytes_left<S: Stack>() -> i64 {
    let soak = || soak::<S>(Length::Calls(CALLS), |_, _| {}).expect("there is a server");
    // Statics and the runtime's own are filled once.
    soak();
    let mut left = Left::default();
    let counted = allocation_counter::measure(|| left = soak());
    left.memory.clear();
    assert!(left.leaks().is_empty(), "{:?} of {left:?}", left.leaks());
    assert_eq!(left.ends.calls(), CALLS);
    counted.bytes_current
}

/// Less than a byte for each call, so nothing.
fn check<S: Stack>() {
    let bytes = bytes_left::<S>();
    assert!(bytes < i64::try_from(CALLS).expect("it is small"), "{bytes}");
}

#[test]
fn a_soak_on_reqwest_leaves_nothing() {
    alone(concat!(module_path!(), "::a_soak_on_reqwest_leaves_nothing"), check::<Reqwest>);
}

#[test]
fn a_soak_on_hyper_and_tokio_leaves_nothing() {
    alone(concat!(module_path!(), "::a_soak_on_hyper_and_tokio_leaves_nothing"), check::<HyperTokio>);
}

/// There, wakers are dropped by the thread of async-io, and what they are the last to hold with them: bytes that the thread of
/// the calls has not given back itself.
#[test]
fn a_soak_on_hyper_and_smol_leaves_nothing() {
    alone(concat!(module_path!(), "::a_soak_on_hyper_and_smol_leaves_nothing"), || {
        bytes_left::<HyperSmol>();
    });
}

/// What the soak judges by: so much memory at each twentieth, and whether it is too much.
#[test]
fn memory_that_grows_with_the_calls_is_a_leak_and_a_peak_is_none() {
    const MIB: u64 = 1024 * 1024;
    type Memory = fn(u64) -> u64;
    let cases: [(Memory, bool); 5] = [
        (|_| 10 * MIB, false),
        // What fills at first.
        (|slice| 10 * MIB + slice.min(3) * MIB, false),
        (|slice| if slice == 19 { 20 * MIB } else { 10 * MIB }, false),
        (|slice| if slice == 0 { 20 * MIB } else { 10 * MIB }, false),
        // The smallest allocation, for every call.
        (|slice| 10 * MIB + slice * 5_000 * 32, true),
    ];
    for (index, (memory, leaks)) in cases.into_iter().enumerate() {
        let mut left = Left::default();
        left.memory = (0..20).map(|slice| ((slice + 1) * 5_000, memory(slice))).collect();
        let told = left.leaks().iter().any(|leak| leak.starts_with("memory"));
        assert_eq!(told, leaks, "{index}: {:?}", left.grown());
    }
    assert!(Left::default().leaks().len() >= 3, "nothing at all is no soak");
}
