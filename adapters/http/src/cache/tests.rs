//! What RFC 9111 and RFC 5861 ask of a private cache, section by section.

use core::time::Duration;

use super::validation::{Validators, confirms, corresponds, invalidates, is_replaced, is_safe, stays};
use super::{Kept, RequestFields, ResponseFields, Use};
use crate::date::UnixTime;

const NOW: UnixTime = UnixTime::from_secs(784_111_777);
const DATE: (&str, &str) = ("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
const A_MINUTE_AGO: (&str, &str) = ("Date", "Sun, 06 Nov 1994 08:48:37 GMT");
const IN_A_MINUTE: (&str, &str) = ("Expires", "Sun, 06 Nov 1994 08:50:37 GMT");
const DAYS_AGO: (&str, &str) = ("Last-Modified", "Thu, 27 Oct 1994 08:49:37 GMT");

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn response(fields: &[(&str, &str)]) -> ResponseFields {
    let mut response = ResponseFields::new();
    fields.iter().for_each(|(name, value)| response.read(name.as_bytes(), value.as_bytes(), NOW));
    response
}

fn request(fields: &[(&str, &str)]) -> RequestFields {
    let mut request = RequestFields::new();
    fields.iter().for_each(|(name, value)| request.read(name.as_bytes(), value.as_bytes()));
    request
}

fn kept(control: &str) -> Kept {
    response(&[DATE, ("Cache-Control", control)]).kept(200, NOW, Duration::ZERO, Duration::ZERO)
}

fn cc(control: &str) -> RequestFields {
    request(&[("Cache-Control", control)])
}

#[test]
fn section_3_what_may_be_stored() {
    for (status, fields, want) in [
        (200, &[][..], true),
        (203, &[], true),
        (204, &[], true),
        (404, &[], true),
        (410, &[], true),
        (501, &[], true),
        // §3.3, RFC 9110 §15.3.7: a part is not the whole. And a redirect is a step, not an answer.
        (206, &[("cache-control", "max-age=9")], false),
        (301, &[("cache-control", "max-age=9")], false),
        (304, &[("cache-control", "max-age=9")], false),
        // Not known to be final.
        (100, &[], false),
        (200, &[("cache-control", "no-store")], false),
        (200, &[("cache-control", "max-age=9"), ("cache-control", "NO-STORE")], false),
        (200, &[("cache-control", "x=\"no-store\"")], true),
        // §5.2.2.3.
        (200, &[("cache-control", "must-understand, no-store")], true),
        (299, &[("cache-control", "must-understand, no-store")], false),
        (299, &[("cache-control", "must-understand, max-age=9")], false),
        // §3, §5.2.2.7: what is private is for this cache.
        (200, &[("cache-control", "private")], true),
        // §4.1.
        (200, &[("vary", "*")], false),
        (200, &[("vary", "accept, *")], false),
        (200, &[("vary", "accept")], true),
    ] {
        assert_eq!(response(fields).may_be_stored(status), want, "{status} {fields:?}");
    }
}

#[test]
fn section_4_2_1_how_long_it_is_fresh() {
    let cc = |value| ("Cache-Control", value);
    for (fields, guess, want) in [
        (&[DATE][..], 0, 0),
        (&[DATE, cc("max-age=60")], 0, 60),
        (&[DATE, cc("MAX-AGE=\"60\"")], 0, 60),
        // §5.3: a MUST.
        (&[DATE, cc("max-age=7"), IN_A_MINUTE], 0, 7),
        (&[DATE, cc("max-age=0"), IN_A_MINUTE], 0, 0),
        // §5.2.2.10: for shared caches.
        (&[DATE, cc("s-maxage=7"), IN_A_MINUTE], 0, 60),
        (&[DATE, IN_A_MINUTE], 0, 60),
        // Since it was sent, and not since it came.
        (&[A_MINUTE_AGO, IN_A_MINUTE], 0, 120),
        // RFC 9110 §6.6.1: without a date, since it came.
        (&[IN_A_MINUTE], 0, 60),
        // In any of the three forms (RFC 9110 §5.6.7).
        (&[DATE, ("Expires", "Sunday, 06-Nov-94 08:50:37 GMT")], 0, 60),
        (&[DATE, ("Expires", "Sun Nov  6 08:50:37 1994")], 0, 60),
        // §5.3: a MUST.
        (&[DATE, ("Expires", "0")], 9, 0),
        (&[DATE, ("Expires", "-1")], 9, 0),
        (&[DATE, ("Expires", "")], 9, 0),
        (&[DATE, ("Expires", "Sun, 06 Nov 1994 08:49:36 GMT")], 9, 0),
        // §4.2.1: said twice.
        (&[DATE, cc("max-age=60"), cc("max-age=60")], 0, 60),
        (&[DATE, cc("max-age=60, max-age=61")], 0, 0),
        (&[DATE, IN_A_MINUTE, IN_A_MINUTE], 0, 60),
        (&[DATE, IN_A_MINUTE, ("Expires", "Sun, 06 Nov 1994 08:51:37 GMT")], 0, 0),
        // §4.2.1: no number.
        (&[DATE, cc("max-age=soon"), IN_A_MINUTE], 0, 0),
        (&[DATE, cc("max-age"), IN_A_MINUTE], 0, 0),
        (&[DATE, cc("max-age=-1"), IN_A_MINUTE], 0, 0),
        (&[DATE, cc("max-age=1.5"), IN_A_MINUTE], 0, 0),
        (&[DATE, cc("max-age=\"60")], 0, 0),
        // §1.2.2: a MUST.
        (&[DATE, cc("max-age=99999999999999999999999")], 0, u64::MAX),
        // §4.2.2: a tenth, up to what is allowed, and only where nothing is told (a MUST NOT).
        (&[DATE, DAYS_AGO], 0, 0),
        (&[DATE, DAYS_AGO], 60, 60),
        (&[DATE, DAYS_AGO], u64::MAX, 86_400),
        (&[DATE, DAYS_AGO, IN_A_MINUTE], u64::MAX, 60),
        (&[DATE, DAYS_AGO, cc("max-age=0")], u64::MAX, 0),
        (&[DATE, ("Last-Modified", "Sun, 06 Nov 2094 08:49:37 GMT")], u64::MAX, 0),
        (&[DATE, ("Last-Modified", "yesterday")], u64::MAX, 0),
    ] {
        let kept = response(fields).kept(200, NOW, Duration::ZERO, secs(guess));
        assert_eq!(kept.lifetime, secs(want), "{fields:?}");
    }
    // §4.2.2: only of statuses for which that may be guessed (a MUST NOT).
    let guessed = response(&[DATE, DAYS_AGO]).kept(302, NOW, Duration::ZERO, secs(60));
    assert_eq!(guessed.lifetime, Duration::ZERO);
}

#[test]
fn section_4_2_3_how_old_it_is() {
    for (fields, since_request, later, want) in [
        (&[DATE][..], 0, 0, 0),
        (&[DATE], 3, 10, 13),
        (&[DATE, ("Age", "5")], 3, 10, 18),
        // It was under way for a minute, or a clock is wrong: the greater counts.
        (&[A_MINUTE_AGO, ("Age", "5")], 3, 10, 70),
        (&[A_MINUTE_AGO, ("Age", "70")], 3, 10, 83),
        (&[("Date", "Sun, 06 Nov 2094 08:49:37 GMT"), ("Age", "5")], 3, 10, 18),
        (&[("Age", "5")], 3, 10, 18),
        // §5.1.
        (&[DATE, ("Age", "7, 9")], 0, 0, 7),
        (&[DATE, ("Age", "7"), ("Age", "9")], 0, 0, 7),
        (&[DATE, ("Age", "-7")], 0, 0, 0),
        (&[DATE, ("Age", "soon")], 0, 0, 0),
        (&[DATE, ("Age", "18446744073709551615")], u64::MAX, u64::MAX, u64::MAX),
    ] {
        let kept = response(fields).kept(200, NOW, secs(since_request), Duration::ZERO);
        let age = kept.age(secs(later)).as_secs();
        assert_eq!(age, want, "{fields:?}");
    }
}

#[test]
fn section_4_when_it_is_the_answer() {
    use Use::{Fresh, Stale, Validate, WhileRevalidating};
    for (response, request, age, want) in [
        ("max-age=60", "", 0, Fresh),
        ("max-age=60", "", 59, Fresh),
        // §4.2: fresh is what has more of a lifetime than age.
        ("max-age=60", "", 60, Validate),
        ("", "", 0, Validate),
        ("immutable, max-age=60", "", 59, Fresh),
        ("immutable, max-age=60", "", 60, Validate),
        // §5.2.2.4, with and without names of fields.
        ("max-age=60, no-cache", "", 0, Validate),
        ("max-age=60, no-cache=\"set-cookie\"", "", 0, Validate),
        ("max-age=60, no-cache", "max-stale", 0, Validate),
        // §5.2.1.4.
        ("max-age=60", "no-cache", 0, Validate),
        ("max-age=60", "No-Cache", 0, Validate),
        ("max-age=60", "no-cache, max-stale", 70, Validate),
        // §5.2.1.1.
        ("max-age=60", "max-age=10", 10, Fresh),
        ("max-age=60", "max-age=10", 11, Validate),
        ("max-age=60", "max-age=10, max-stale", 11, Validate),
        ("max-age=60", "max-age=100, max-stale", 80, Stale),
        ("max-age=60", "max-age=soon", 1, Validate),
        ("max-age=60", "max-age=90, max-age=10", 11, Validate),
        // §5.2.1.2.
        ("max-age=60", "max-stale=10", 70, Stale),
        ("max-age=60", "max-stale=10", 71, Validate),
        ("max-age=60", "max-stale", 1_000_000, Stale),
        ("max-age=60", "max-stale=soon", 61, Validate),
        ("", "max-stale", 1, Stale),
        // §5.2.1.3.
        ("max-age=60", "min-fresh=10", 50, Fresh),
        ("max-age=60", "min-fresh=10", 51, Validate),
        ("max-age=60", "min-fresh=soon", 0, Validate),
        ("max-age=60", "min-fresh=10, max-stale", 70, Validate),
        ("max-age=60", "min-fresh=0", 60, Validate),
        // §5.2.2.2: a MUST NOT, whoever takes it stale.
        ("max-age=60, must-revalidate", "", 59, Fresh),
        ("max-age=60, must-revalidate", "max-stale", 60, Validate),
        ("max-age=60, must-revalidate, stale-while-revalidate=60", "", 60, Validate),
        // §5.2.2.8, for shared caches.
        ("max-age=60, proxy-revalidate", "max-stale", 60, Stale),
        // RFC 5861 §3.
        ("max-age=60, stale-while-revalidate=30", "", 60, WhileRevalidating),
        ("max-age=60, stale-while-revalidate=30", "", 89, WhileRevalidating),
        ("max-age=60, stale-while-revalidate=30", "", 90, Validate),
        ("max-age=60, stale-while-revalidate=0", "", 60, Validate),
        ("max-age=60, stale-while-revalidate=soon", "", 60, Validate),
        ("max-age=60, stale-while-revalidate", "", 60, Validate),
        ("max-age=60, stale-while-revalidate=30, stale-while-revalidate=1", "", 61, Validate),
        ("max-age=60, stale-while-revalidate=30, no-cache", "", 60, Validate),
        ("max-age=60, stale-while-revalidate=30", "no-cache", 60, Validate),
        ("max-age=60, stale-while-revalidate=30", "max-age=100", 60, Validate),
        ("max-age=60, stale-while-revalidate=30", "max-stale=10", 75, Validate),
    ] {
        let kept = kept(response);
        assert_eq!(kept.judge(&cc(request), secs(age)), want, "{response:?} asked with {request:?} at {age}");
        assert_eq!(kept.is_fresh(secs(age)), kept.judge(&RequestFields::new(), secs(age)) == Fresh);
    }
}

#[test]
fn rfc_5861_section_4_when_it_stands_in_for_an_error() {
    for (response, request, age, status, want) in [
        ("max-age=60, stale-if-error=600", "", 660, None, true),
        ("max-age=60, stale-if-error=600", "", 661, None, false),
        ("max-age=60, stale-if-error=600", "", 660, Some(500), true),
        ("max-age=60, stale-if-error=600", "", 660, Some(502), true),
        ("max-age=60, stale-if-error=600", "", 660, Some(503), true),
        ("max-age=60, stale-if-error=600", "", 660, Some(504), true),
        ("max-age=60, stale-if-error=600", "", 61, Some(501), false),
        ("max-age=60, stale-if-error=600", "", 61, Some(404), false),
        ("max-age=60, stale-if-error=600", "", 61, Some(429), false),
        ("max-age=60, stale-if-error=600", "", 61, Some(200), false),
        ("max-age=60", "", 60, None, false),
        ("max-age=60", "stale-if-error=600", 660, Some(503), true),
        ("max-age=60", "stale-if-error=600", 660, Some(429), true),
        ("max-age=60", "stale-if-error=600", 661, Some(503), false),
        ("max-age=60", "stale-if-error", 60, Some(503), false),
        // RFC 9111 §4.2.4: a MUST NOT.
        ("max-age=60, stale-if-error=600, must-revalidate", "", 61, None, false),
        ("max-age=60, stale-if-error=600, no-cache", "", 61, None, false),
        ("max-age=60, must-revalidate", "stale-if-error=600", 61, None, false),
        ("max-age=60, stale-if-error=600", "no-cache", 61, None, false),
        // "Regardless of other freshness information".
        ("max-age=60, stale-if-error=600", "max-age=5", 61, None, true),
    ] {
        let got = kept(response).stands_in(&cc(request), secs(age), status);
        assert_eq!(got, want, "{response:?} asked with {request:?} at {age}: {status:?}");
    }
}

#[test]
fn section_5_2_1_what_else_a_request_says() {
    for (fields, want) in [
        (&[][..], [false, false, false, false]),
        (&[("cache-control", "no-store")], [true, false, false, false]),
        (&[("Cache-Control", "only-if-cached")], [false, true, false, false]),
        // §5.4.
        (&[("pragma", "no-cache")], [false, false, true, false]),
        (&[("pragma", "no-cache"), ("cache-control", "max-age=9")], [false, false, false, false]),
        (&[("range", "bytes=0-9")], [false, false, false, true]),
        (&[("If-None-Match", "\"a\"")], [false, false, false, true]),
        (&[("if-modified-since", "x")], [false, false, false, true]),
        (&[("iff", "x"), ("accept", "no-store")], [false, false, false, false]),
    ] {
        let request = request(fields);
        let got = [
            request.forbids_storing(),
            request.wants_only_cached(),
            request.wants_validation(),
            request.asks_for_less(),
        ];
        assert_eq!(got, want, "{fields:?}");
    }
}

fn validators<'a>(etag: &'a str, last_modified: &'a str) -> Validators<'a> {
    let some = |value: &'a str| Some(value.as_bytes()).filter(|value| !value.is_empty());
    Validators { etag: some(etag), last_modified: some(last_modified) }
}

#[test]
fn section_4_3_4_what_a_304_confirms() {
    for (kept, told, want) in [
        (("\"a\"", ""), ("\"a\"", ""), true),
        // A MUST NOT.
        (("\"a\"", ""), ("\"b\"", ""), false),
        (("W/\"a\"", ""), ("\"a\"", ""), false),
        (("", "x"), ("\"a\"", "x"), false),
        (("\"a\"", ""), ("W/\"a\"", ""), true),
        (("W/\"a\"", ""), ("W/\"a\"", ""), true),
        (("W/\"a\"", ""), ("W/\"b\"", ""), false),
        (("", "x"), ("", "x"), true),
        (("", "x"), ("", "y"), false),
        (("\"a\"", "x"), ("", "y"), false),
        (("\"a\"", ""), ("", "x"), true),
        (("\"a\"", "x"), ("", ""), true),
        (("", ""), ("", ""), true),
        // The entity tag says it, whatever the date says.
        (("\"a\"", "x"), ("\"a\"", "y"), true),
    ] {
        let got = confirms(validators(kept.0, kept.1), validators(told.0, told.1));
        assert_eq!(got, want, "{kept:?} {told:?}");
    }
}

#[test]
fn section_4_3_5_what_a_head_speaks_of() {
    for (kept, told, length, want) in [
        (("\"a\"", "x"), ("\"a\"", "x"), Some(9), true),
        (("\"a\"", "x"), ("\"a\"", "x"), Some(8), false),
        (("\"a\"", "x"), ("\"b\"", "x"), None, false),
        (("\"a\"", "x"), ("\"a\"", "y"), None, false),
        (("\"a\"", "x"), ("", ""), Some(9), true),
        (("", ""), ("\"a\"", ""), Some(9), false),
    ] {
        let got = corresponds(validators(kept.0, kept.1), validators(told.0, told.1), 9, length);
        assert_eq!(got, want, "{kept:?} {told:?} {length:?}");
    }
}

#[test]
fn section_3_1_and_3_2_which_fields_are_kept_and_replaced() {
    for (name, stay, replaced) in [
        ("ETag", true, true),
        ("Set-Cookie", true, true),
        ("Cache-Control", true, true),
        ("Connection", false, false),
        ("Transfer-Encoding", false, false),
        ("proxy-authenticate", false, false),
        ("Content-Length", true, false),
        ("content-type", true, false),
        ("Content-Encoding", true, false),
        ("Content-Range", true, false),
        ("Content-Location", true, true),
    ] {
        assert_eq!((stays(name.as_bytes()), is_replaced(name.as_bytes())), (stay, replaced), "{name}");
    }
}

#[test]
fn section_4_4_what_invalidates() {
    for (method, safe) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", true),
        ("POST", false),
        ("PUT", false),
        ("DELETE", false),
        ("PATCH", false),
        // A SHOULD: nobody knows whether it is safe.
        ("BREW", false),
        ("get", false),
    ] {
        assert_eq!(is_safe(method.as_bytes()), safe, "{method}");
    }
    for (status, want) in
        [(Some(200), true), (Some(303), true), (Some(404), false), (Some(409), false), (Some(500), true), (None, true)]
    {
        assert_eq!(invalidates(status), want, "{status:?}");
    }
}
