//! RFC 9110, section by section: what it says that a client has to do or to read, and that it is done. What is here in one row
//! is there in many, in the module that does it; what takes a connection is in `steadfast-tests`.

use core::time::Duration;

use steadfast_core::limits::Counts;
use steadfast_core::outcome::{Idempotency, Outcome, OutcomeKind, Processed};
use steadfast_http::date::{self, UnixTime};
use steadfast_http::redirect::{self, Next};
use steadfast_http::{RateLimitFields, RetryAfter, classify, idempotency};

/// Sun, 06 Nov 1994 08:49:37 GMT: the moment in the RFC's own examples.
const NOW: UnixTime = UnixTime::from_secs(784_111_777);

const HINT: Duration = Duration::from_secs(120);

/// What a field asks to wait, in seconds.
fn retry_after(name: &str, value: &[u8]) -> Option<u64> {
    RetryAfter::from_field(name.as_bytes(), value, NOW).map(|hint| hint.delay_from(NOW).as_secs())
}

/// Names of fields are case-insensitive.
#[test]
fn section_5_1_field_names() {
    for name in ["Retry-After", "retry-after", "RETRY-AFTER", "rEtRy-aFtEr"] {
        assert_eq!(retry_after(name, b"120"), Some(120), "{name}");
    }
    // Others are other fields: one that is not known is ignored.
    for name in ["Retry_After", "Retry-After ", " Retry-After", "Retry-Afte", ""] {
        assert_eq!(retry_after(name, b"120"), None, "{name:?}");
    }
    for name in ["RateLimit", "ratelimit", "RATELIMIT"] {
        let mut fields = RateLimitFields::new();
        fields.read(name.as_bytes(), b"a;r=1;t=1", None);
        assert_eq!(fields.told(None).iter().count(), 1, "{name}");
    }
    let key = |name: &str| idempotency::of_request(b"POST", [(name.as_bytes(), &b"k"[..])]);
    assert_eq!([key("Idempotency-Key"), key("IDEMPOTENCY-KEY")], [Idempotency::Idempotent; 2]);
}

/// Several lines of one field are one list, in their order.
#[test]
fn section_5_3_field_order() {
    let told = |lines: &[&str]| {
        let mut fields = RateLimitFields::new();
        lines.iter().for_each(|line| fields.read(b"RateLimit", line.as_bytes(), None));
        fields.told(None).iter().map(|limit| (limit.which, limit.left)).collect::<Vec<_>>()
    };
    let in_one = told(&[r#""a";r=1;t=1, "b";r=2;t=2, "c";r=3;t=3"#]);
    assert_eq!(in_one.len(), 3);
    assert_eq!(told(&[r#""a";r=1;t=1"#, r#""b";r=2;t=2, "c";r=3;t=3"#]), in_one);
}

/// Whitespace around a value is none of it, and of what a value may not hold, nothing is made.
#[test]
fn section_5_5_field_values() {
    for (value, want) in [
        (&b"120"[..], Some(120)),
        (b" 120", Some(120)),
        (b"\t120 \t ", Some(120)),
        (b"1 20", None),
        (b"120\0", None),
        (b"120\r\n", Some(120)), // A line's end that somebody has left.
        (b"120\x80", None),
        (b"\xff", None),
        (b"", None),
    ] {
        assert_eq!(retry_after("Retry-After", value), want, "{}", value.escape_ascii());
    }
}

/// A recipient has to read all three forms of a date, and two digits as the past if they seem more than 50 years ahead.
#[test]
fn section_5_6_7_dates() {
    for (value, want) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
        ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
        // Case-sensitive, in GMT, and with no whitespace but what is written.
        ("sun, 06 nov 1994 08:49:37 gmt", None),
        ("Sun, 06 Nov 1994 08:49:37 EST", None),
        ("Sun, 06 Nov 1994  08:49:37 GMT", None),
        ("Sunday, 06-Nov-44 08:49:37 GMT", Some(2_362_034_977)), // 2044: fifty years from then, to the second.
        ("Sunday, 06-Nov-45 08:49:37 GMT", Some(-762_189_023)),  // 1945, since 2045 would be more.
    ] {
        assert_eq!(date::parse(value.as_bytes(), NOW), want.map(UnixTime::from_secs), "{value}");
    }
}

/// Methods are case-sensitive; one that is not known is neither safe nor idempotent, as far as anybody can tell.
#[test]
fn section_9_1_methods() {
    for method in ["get", "Get", "GET ", "PURGE", ""] {
        assert_eq!(idempotency::of_method(method.as_bytes()), Idempotency::NotIdempotent, "{method:?}");
    }
}

/// §9.2.2: the safe methods (§9.2.1), PUT and DELETE are repeated; a POST and a PATCH are not, unless it is known to be harmless.
#[test]
fn section_9_2_safe_and_idempotent_methods() {
    for (method, want) in [
        ("GET", Idempotency::Idempotent),        // §9.3.1
        ("HEAD", Idempotency::Idempotent),       // §9.3.2
        ("POST", Idempotency::NotIdempotent),    // §9.3.3
        ("PUT", Idempotency::Idempotent),        // §9.3.4
        ("DELETE", Idempotency::Idempotent),     // §9.3.5
        ("CONNECT", Idempotency::NotIdempotent), // §9.3.6
        ("OPTIONS", Idempotency::Idempotent),    // §9.3.7
        ("TRACE", Idempotency::Idempotent),      // §9.3.8
        ("PATCH", Idempotency::NotIdempotent),   // RFC 5789 §2
    ] {
        assert_eq!(idempotency::of_method(method.as_bytes()), want, "{method}");
    }
}

/// Seconds, or a date; and nothing else, such as what is negative.
#[test]
fn section_10_2_3_retry_after() {
    for (value, want) in [
        ("Fri, 31 Dec 1999 23:59:59 GMT", Some(86_400)), // The RFC's example, five years ahead: a day, which is the longest.
        ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
        ("Sunday, 06-Nov-94 08:51:37 GMT", Some(120)),
        ("Sun Nov  6 08:51:37 1994", Some(120)),
        ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
        ("120", Some(120)),
        ("0", Some(0)),
        ("-1", None),
        ("+120", None),
        ("120s", None),
        ("120, 60", None),
    ] {
        assert_eq!(retry_after("Retry-After", value.as_bytes()), want, "{value}");
    }
    // It is passed on with whatever status it comes: 503, 429, 3xx, and any other.
    for status in 100..600 {
        assert_eq!(classify(status, Some(HINT)).retry_after(), Some(HINT), "{status}");
    }
}

/// An unknown status is what its class is, and one outside of all classes a failure of the server.
#[test]
fn section_15_status_classes() {
    for (status, like) in [(299, 200), (399, 300), (499, 400), (599, 500), (600, 500), (999, 500), (99, 500), (0, 500)]
    {
        assert_eq!(classify(status, None), classify(like, None), "{status} as {like}");
    }
}

/// Every status of the RFC: whether the attempt failed, whether another may help, and whether it is known that nothing was done.
#[test]
fn sections_15_2_to_15_6_statuses() {
    use OutcomeKind::{Permanent, Success, Throttled, Transient};
    let check = |statuses: &[u16], kind: OutcomeKind, processed: Processed| {
        for status in statuses {
            let outcome: Outcome = classify(*status, None);
            assert_eq!((outcome.kind(), outcome.processed()), (kind, processed), "{status}");
        }
    };
    let maybe = Processed::Maybe;
    check(&[100], Transient, maybe); // §15.2.1: interim, and so no last word.
    check(&[101], Success, maybe); // §15.2.2
    check(&[200, 201, 202, 203, 204, 205, 206], Success, maybe); // §15.3
    check(&[300, 301, 302, 303, 304, 305, 306, 307, 308], Success, maybe); // §15.4
    check(&[400, 401, 402, 403, 404, 405, 406, 407], Permanent, maybe); // §15.5.1 to §15.5.8
    check(&[408], Transient, maybe); // §15.5.9: the client MAY repeat it.
    check(&[409, 410, 411, 412, 413, 414, 415, 416, 417, 418], Permanent, maybe); // §15.5.10 to §15.5.19
    check(&[421], Transient, Processed::No); // §15.5.20: MAY be repeated, whatever the method.
    check(&[422, 426], Permanent, maybe); // §15.5.21, §15.5.22
    check(&[500], Transient, maybe); // §15.6.1
    check(&[501], Permanent, maybe); // §15.6.2
    check(&[502, 503, 504], Transient, maybe); // §15.6.3 to §15.6.5
    check(&[505], Permanent, maybe); // §15.6.6
    check(&[429], Throttled, Processed::No); // RFC 6585 §4
    // §15.5.14: where the condition is temporary, the server says so by a Retry-After.
    assert_eq!(classify(413, Some(HINT)).kind(), Throttled);
}

/// What follows a redirect: a GET, the same, or nothing.
#[test]
fn section_15_4_redirects() {
    let (get, same) = (Some(Next::Get), Some(Next::Same));
    for (status, after_get, after_head, after_post, after_put) in [
        (300, None, None, None, None), // §15.4.1: a choice, which is the user's.
        (301, same, same, get, same),  // §15.4.2
        (302, same, same, get, same),  // §15.4.3
        (303, same, same, get, get),   // §15.4.4
        (304, None, None, None, None), // §15.4.5: to the client's own copy.
        (305, None, None, None, None), // §15.4.6
        (306, None, None, None, None), // §15.4.7
        (307, same, same, same, same), // §15.4.8
        (308, same, same, same, same), // §15.4.9
        (399, None, None, None, None),
    ] {
        for (method, want) in [("GET", after_get), ("HEAD", after_head), ("POST", after_post), ("PUT", after_put)] {
            assert_eq!(redirect::next(status, method.as_bytes()), want, "{method} {status}");
        }
    }
}

/// Draft-ietf-httpapi-ratelimit-headers-11, as it tells clients; its grammar is tested where it is read.
#[test]
fn the_rate_limit_draft_section_7_client_behavior() {
    let told = |fields: &[(&str, &str)], retry_after| {
        let mut read = RateLimitFields::new();
        fields.iter().for_each(|(name, value)| read.read(name.as_bytes(), value.as_bytes(), None));
        let limits = read.told(retry_after);
        limits.iter().map(|limit| (limit.counts, limit.left, limit.reset_in.as_secs())).collect::<Vec<_>>()
    };
    let spent = ("RateLimit", r#""a";r=0;t=10"#);
    // "Malformed RateLimit header fields MUST be ignored", and what is beside them is not.
    assert_eq!(told(&[("RateLimit", r#""a";r=0;t=10,"#)], None), []);
    assert_eq!(told(&[("RateLimit", "!"), spent], None), [(Counts::Calls, 0, 10)]);
    // "The Retry-After field MUST take precedence", be it earlier or later.
    assert_eq!(told(&[spent], Some(Duration::from_secs(3))), [(Counts::Calls, 0, 3)]);
    assert_eq!(told(&[spent], Some(Duration::from_secs(30))), [(Counts::Calls, 0, 30)]);
    // It MUST NOT be assumed that there are the same fields in another response, or any.
    assert_eq!(told(&[], None), []);
    // The policies are informative: without an available quota, they hold nobody back.
    assert_eq!(told(&[("RateLimit-Policy", r#""a";q=1;w=60"#)], None), []);
}
