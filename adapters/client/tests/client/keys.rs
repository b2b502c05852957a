//! Limits of its own for each key.

use steadfast_core::limits::Counts;
use steadfast_core::limits::Limits;
use steadfast_core::rate_limit::RateLimits;

use super::*;

/// One call a second for each key, of at most so many.
fn client<'a>(clock: &'a ManualClock, script: &Script, max_keys: usize) -> Client<'a> {
    let quota = Quota::per_second(1).unwrap();
    let shared = Pipeline::builder().without_circuit_breaker().build().unwrap();
    builder(clock, script).per_key(max_keys, shared, move || TokenBucket::new(quota).into()).build().unwrap()
}

fn call(clock: &ManualClock, client: &Client<'_>, key: &str) -> Result<(), Error> {
    clock.drive(client.get("a").limit_key(key).send()).unwrap().map(drop)
}

#[test]
fn each_key_has_limits_of_its_own_whatever_the_path() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = client(&clock, &script, 100);
    for key in ["ann", "bob", "eve"] {
        call(&clock, &client, key).unwrap();
    }
    assert_eq!(elapsed(&clock), ms(0));
    clock.drive(client.get("elsewhere").limit_key("ann").send()).unwrap().unwrap();
    assert_eq!(elapsed(&clock), ms(1000));
    // Who names no key goes by the client's: five at once.
    for _ in 0..5 {
        clock.drive(client.get("a").send()).unwrap().unwrap();
    }
    assert_eq!(elapsed(&clock), ms(1000));
}

#[test]
fn what_the_server_says_to_one_key_holds_back_that_key() {
    for answer in [
        Answers(429, &[("retry-after", "7")], ""),
        Answers(200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7")], ""),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(&[answer]));
        let client = client(&clock, &script, 100);
        clock.drive(client.get("a").limit_key("ann").without_retry().send()).unwrap().ok();
        call(&clock, &client, "bob").unwrap();
        clock.drive(client.get("a").send()).unwrap().unwrap();
        assert_eq!(elapsed(&clock), ms(0), "{answer:?}");
        call(&clock, &client, "ann").unwrap();
        assert_eq!(elapsed(&clock), ms(7000), "{answer:?}");
    }
}

#[test]
fn a_flood_of_keys_is_refused_at_the_bound_and_no_limit_starts_anew() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = client(&clock, &script, 10);
    let mut sent = 0;
    for number in 0..1000 {
        match call(&clock, &client, &format!("secret-{number}")) {
            Ok(()) => sent += 1,
            Err(error) => {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("secret"), "{shown}");
                assert!(matches!(error, Error::RateLimited(_)), "{error:?}");
                assert_eq!(error.retry_at(), Some(Instant::EPOCH + ms(1000)));
            }
        }
    }
    assert_eq!((sent, script.seen().len(), elapsed(&clock)), (10, 10, ms(0)));
    call(&clock, &client, "secret-0").unwrap();
    assert_eq!(elapsed(&clock), ms(1000), "it was not forgotten");
    call(&clock, &client, "new").unwrap();
    assert_eq!(elapsed(&clock), ms(1000), "and the others were, once they were at rest");
}

#[test]
fn a_key_has_several_limits_and_is_settled_with_what_a_call_cost() {
    let says = Answers(200, &[], "100");
    let (clock, script) = (ManualClock::new(), Script::new(&[says; 3]));
    let limits = || {
        let quota = |tokens| Quota::per_second(tokens).and_then(|quota| quota.with_burst(tokens)).unwrap();
        Limits::<2>::none().with_rate_limits(RateLimits::new([10, 1000].map(quota)), [Counts::Calls, Counts::Weight])
    };
    let client = builder(&clock, &script).per_key(10, Pipeline::standard(), limits).build().unwrap();
    for _ in 0..3 {
        let call = client.get("a").limit_key("ann").weight(800.try_into().unwrap());
        let call = call.cost(|response| response.json().ok());
        clock.drive(call.send()).unwrap().unwrap();
    }
    assert_eq!(elapsed(&clock), ms(0));
}

#[test]
fn a_key_where_there_are_none_and_limits_of_nobody_are_refused() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let plain = builder(&clock, &script).build().unwrap();
    let error = call(&clock, &plain, "secret").unwrap_err();
    assert_eq!(error.to_string(), "invalid request: limit_key is \"set\", though the client has no limits per key");
    let request = plain.get("a").limit_key("secret");
    assert!(!format!("{request:?}").contains("secret"));
    let limited = builder(&clock, &script).per_key(10, pipeline().build().unwrap(), Limits::<1>::none).build();
    assert!(matches!(limited, Err(Error::InvalidRequest { field: "per_key", .. })));
}
