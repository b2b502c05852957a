//! Fields as servers send them, and what is told of them. `tests/properties.rs` has the rest of all inputs.

extern crate std;

use std::vec::Vec;

use super::*;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW: UnixTime = UnixTime::from_secs(784_111_777);

type Row<'a> = (&'a [(&'a str, &'a str)], &'a [(Counts, u32, u64)]);

const CALLS: Counts = Counts::Calls;
const WEIGHT: Counts = Counts::Weight;

fn told(fields: &[(&str, &str)], retry_after: Option<Duration>) -> Vec<Remaining> {
    let mut read = RateLimitFields::new();
    for (name, value) in fields {
        read.read(name.as_bytes(), value.as_bytes(), Some(NOW));
    }
    read.told(retry_after).iter().copied().collect()
}

/// What is told of each response: what it counts, how many are left, and for how many milliseconds.
fn check(table: &[Row<'_>]) {
    for (fields, want) in table {
        let told = told(fields, None);
        let got: Vec<_> = told.iter().map(|limit| (limit.counts, limit.left, limit.reset_in.as_millis())).collect();
        let want: Vec<_> = want.iter().map(|(counts, left, millis)| (*counts, *left, u128::from(*millis))).collect();
        assert_eq!(got, want, "{fields:?}");
        let mut ids: Vec<_> = told.iter().map(|limit| limit.which).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), told.len(), "{fields:?}");
    }
}

#[test]
fn section_4_service_limit_items() {
    check(&[
        (&[("RateLimit", r#""default";r=50;t=30"#)], &[(CALLS, 50, 30_000)]),
        (&[("ratelimit", "default;r=50;t=30")], &[(CALLS, 50, 30_000)]), // A token, before draft -09.
        (&[("RATELIMIT", r#""default"; r=999; t=0;x;y="z";q=1.5;b=?1"#)], &[(CALLS, 999, 0)]),
        (&[("RateLimit", r#""hour";r=399;t=2402, "day";r=20;t=23"#)], &[(CALLS, 399, 2_402_000), (CALLS, 20, 23_000)]),
        // A list may come in several fields (RFC 9651 §3.1).
        (&[("RateLimit", r#""a";r=1;t=1"#), ("RateLimit", r#""b";r=2;t=2"#)], &[(CALLS, 1, 1_000), (CALLS, 2, 2_000)]),
        // §4.1: `r` is required, and where `t` is missing only the policy's window bounds it.
        (&[("RateLimit", r#""default";t=30"#)], &[]),
        (&[("RateLimit", r#""default";r=1"#)], &[]),
        (&[("RateLimit", r#""default";r=-1;t=1"#)], &[]),
        (&[("RateLimit", r#""default";r=1.0;t=1"#)], &[]),
        (&[("RateLimit", r#""default";r="1";t=1"#)], &[]),
        (&[("RateLimit", "5;r=1;t=1")], &[]),
        // The last of two parameters counts (RFC 9651 §4.2.3.2).
        (&[("RateLimit", r#""a";r=5;t=1;r=6"#)], &[(CALLS, 6, 1_000)]),
        // The same limit twice: the smaller number, and the later reset.
        (&[("RateLimit", r#""a";r=5;t=1, "a";r=6;t=9"#)], &[(CALLS, 5, 9_000)]),
        (&[("RateLimit", r#""a";r=999999999999999;t=999999999999999"#)], &[(CALLS, u32::MAX, 999_999_999_999_999_000)]),
        // Partitions are limits of their own.
        (
            &[("RateLimit", r#""a";r=5;t=1;pk=:cHsdsRa894==:, "a";r=6;t=9;pk=:YWJj:, "a";r=7;t=2;pk="abc""#)],
            &[(CALLS, 5, 1_000), (CALLS, 6, 9_000), (CALLS, 7, 2_000)],
        ),
    ]);
}

#[test]
fn section_3_quota_policy_items() {
    let limit = ("RateLimit", r#""a";r=5;t=1"#);
    let nothing = ("RateLimit", r#""a";r=0;t=1"#);
    check(&[
        (&[limit, ("RateLimit-Policy", r#""a";q=100;w=60"#)], &[(CALLS, 5, 1_000)]),
        // Without a `t`, its window is the longest that it can take. In any order of fields.
        (&[("RateLimit", r#""a";r=0"#), ("RateLimit-Policy", r#""b";w=1,"a";q=100;w=60"#)], &[(CALLS, 0, 60_000)]),
        (&[("RateLimit-Policy", r#""a";q=100;w=60"#), ("RateLimit", r#""a";r=0"#)], &[(CALLS, 0, 60_000)]),
        (&[limit, ("RateLimit-Policy", r#""a";q=100;qu="requests""#)], &[(CALLS, 5, 1_000)]),
        (&[limit, ("RateLimit-Policy", r#""a";q=100;qu="tokens""#)], &[(WEIGHT, 5, 1_000)]),
        (&[limit, ("RateLimit-Policy", r#""a";q=100;qu=llm-tokens"#)], &[(WEIGHT, 5, 1_000)]),
        // Bytes are no calls, and yet: when none are left, nobody has to ask.
        (&[limit, ("RateLimit-Policy", r#""a";q=100;qu="content-bytes""#)], &[]),
        (&[nothing, ("RateLimit-Policy", r#""a";q=100;qu="content-bytes""#)], &[(CALLS, 0, 1_000)]),
        (&[nothing, ("RateLimit-Policy", r#""a";q=100;qu="concurrent-requests""#)], &[]),
        // §3.1.1: `q` is required, and a number that is not negative; §3.1.3: a window is longer than nothing.
        (&[limit, ("RateLimit-Policy", r#""a";qu="tokens""#)], &[(CALLS, 5, 1_000)]),
        (&[limit, ("RateLimit-Policy", r#""a";q=-1;qu="tokens""#)], &[(CALLS, 5, 1_000)]),
        (&[limit, ("RateLimit-Policy", r#""a";q=1.5;qu="tokens""#)], &[(CALLS, 5, 1_000)]),
        (&[("RateLimit", r#""a";r=0"#), ("RateLimit-Policy", r#""a";q=100;w=0"#)], &[]),
        (&[("RateLimit", r#""a";r=0"#), ("RateLimit-Policy", r#""a";q=100;w=-1"#)], &[]),
        (&[("RateLimit", r#""a";r=0"#), ("RateLimit-Policy", r#""a";q=100;w=1.5"#)], &[]),
        // Other parameters are comments, and a list may be split over several fields (§3).
        (
            &[
                ("RateLimit", r#""b";r=0"#),
                ("RateLimit-Policy", r#""a";q=1"#),
                ("RateLimit-Policy", r#""b";q=1;w=9;acme-x=?0"#),
            ],
            &[(CALLS, 0, 9_000)],
        ),
        // §3.2, §4.2: the draft's own examples.
        (
            &[
                ("RateLimit", r#""permin";r=5, "perhr";r=7"#),
                ("RateLimit-Policy", r#""permin";q=50;w=60,"perhr";q=1000;w=3600"#),
            ],
            &[(CALLS, 5, 60_000), (CALLS, 7, 3_600_000)],
        ),
        (
            &[
                ("RateLimit", r#""peruser";r=0;pk=:sdfjLJUOUH==:"#),
                ("RateLimit-Policy", r#""peruser";q=65535;qu="content-bytes";w=10;pk=:sdfjLJUOUH==:"#),
            ],
            &[(CALLS, 0, 10_000)],
        ),
        (&[("RateLimit", r#""default";r=999;pk=:dHJpYWwxMjEzMjM=:"#)], &[]),
        // Of an earlier draft, and of no use without a name.
        (&[limit, ("RateLimit-Policy", "10;w=1, 50;w=60")], &[(CALLS, 5, 1_000)]),
        (&[limit, ("RateLimit-Policy", r#""a";qu="tokens";;"#)], &[(CALLS, 5, 1_000)]),
        (&[("RateLimit-Policy", r#""a";q=100;w=60"#)], &[]),
    ]);
}

#[test]
fn malformed_fields_are_ignored_as_a_whole() {
    let malformed = [
        "",
        " ",
        ",",
        "a",
        r#""a;r=0;t=1"#,
        r#""a";r=0;t=1,"#,
        r#""a";r=0;t=1;"#,
        r#""a";R=0;t=1"#,
        r#""a";r=0 ;t=1"#,
        r#""a";r= 0;t=1"#,
        r#""a";r=0;t=1 "b";r=0;t=1"#,
        r#""a";r=0;t=1, ("b");r=0;t=1"#,
        r#""a\b";r=0;t=1"#,
        r#""a";r=0;t=1x"#,
        r#""a";r=1234567890123456;t=1"#,
        r#""a";r=+1;t=1"#,
        r#""a";r=0;t=1, limit=3"#,
        "\"\u{e9}\";r=0;t=1",
        "\"a\t\";r=0;t=1",
        "\"a\";r=0;t=1;pk=:a",
        "\"a\";r=0;t=1\t",
        "\"a\";r=0;t=--1",
        "limit=10, remaining=0",
        "limit=10, remaining=0, reset=5,",
        "limit=10, remaining=0, reset=soon",
        "remaining=0; reset=5",
        "0;r=0;t=1.",
    ];
    for value in malformed {
        check(&[(&[("RateLimit", value)], &[])]);
    }
    // What is well-formed beside it still counts.
    check(&[(&[("RateLimit", malformed[4]), ("RateLimit", r#" "b";r=2;t=3  "#)], &[(CALLS, 2, 3_000)])]);
}

#[test]
fn earlier_drafts() {
    check(&[
        (&[("RateLimit", "limit=100, remaining=50, reset=5")], &[(CALLS, 50, 5_000)]),
        (&[("RateLimit", "limit=100,remaining=50;x=1,reset=5,policy=\"a\", other")], &[(CALLS, 50, 5_000)]),
        (
            &[("RateLimit-Limit", "100, 100;w=60"), ("RateLimit-Remaining", "50"), ("RateLimit-Reset", "5")],
            &[(CALLS, 50, 5_000)],
        ),
    ]);
    // GitLab: a point in time. What it adds in other words is not read.
    let mut fields = RateLimitFields::new();
    for (name, value) in [
        ("RateLimit-Limit", "60"),
        ("RateLimit-Name", "throttle_authenticated_web"),
        ("RateLimit-Observed", "67"),
        ("RateLimit-Remaining", "0"),
        ("RateLimit-Reset", "1609844400"),
        ("RateLimit-ResetTime", "Tue, 05 Jan 2021 12:00:00 GMT"),
    ] {
        fields.read(name.as_bytes(), value.as_bytes(), Some(UnixTime::from_secs(1_609_844_340)));
    }
    assert_eq!(fields.told(None).iter().next().map(|limit| limit.reset_in), Some(Duration::from_secs(60)));
}

#[test]
fn vendors() {
    check(&[
        // GitHub, Twitter, Okta: points in time; here one that has passed, since it is 1994.
        (
            &[
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", "4966"),
                ("x-ratelimit-used", "34"),
                ("x-ratelimit-resource", "core"),
                ("x-ratelimit-reset", "1000000000"),
            ],
            &[(CALLS, 4966, (1_000_000_000 - 784_111_777) * 1_000)],
        ),
        // Brave: of the second and of the month.
        (
            &[
                ("x-ratelimit-limit", "1, 15000"),
                ("x-ratelimit-policy", "1;w=1, 15000;w=2592000"),
                ("x-ratelimit-remaining", "1, 1000"),
                ("x-ratelimit-reset", "1, 1419704"),
            ],
            &[(CALLS, 1, 1_000), (CALLS, 1000, 1_419_704_000)],
        ),
        (&[("x-ratelimit-remaining", "0,7 , 9"), ("x-ratelimit-reset", "5,")], &[(CALLS, 0, 5_000)]),
        (
            &[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "Sun, 06 Nov 1994 08:49:47 GMT")],
            &[(CALLS, 3, 10_000)],
        ),
        (
            &[("x-rate-limit-limit", "15"), ("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "1000000000")],
            &[(CALLS, 0, (1_000_000_000 - 784_111_777) * 1_000)],
        ),
        // Reddit
        (
            &[("x-ratelimit-used", "2"), ("x-ratelimit-remaining", "598.0"), ("x-ratelimit-reset", "351")],
            &[(CALLS, 598, 351_000)],
        ),
        // Discord
        (
            &[
                ("X-RateLimit-Limit", "5"),
                ("X-RateLimit-Remaining", "0"),
                ("X-RateLimit-Reset", "1470173023.123"),
                ("X-RateLimit-Reset-After", "1.2"),
                ("X-RateLimit-Bucket", "abcd1234"),
            ],
            &[(CALLS, 0, 1_200)],
        ),
        (&[("X-RateLimit-Remaining", "3"), ("X-RateLimit-Reset-Ms", "1500")], &[(CALLS, 3, 1_500)]),
        // OpenAI and Groq
        (
            &[
                ("x-ratelimit-limit-requests", "60"),
                ("x-ratelimit-limit-tokens", "150000"),
                ("x-ratelimit-remaining-requests", "59"),
                ("x-ratelimit-remaining-tokens", "149984"),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-reset-tokens", "6m0s"),
                ("x-ratelimit-remaining-tokens_usage_based", "159976"),
                ("x-ratelimit-reset-tokens_usage_based", "9ms"),
            ],
            &[(CALLS, 59, 1_000), (WEIGHT, 149_984, 360_000), (WEIGHT, 159_976, 9)],
        ),
        // Anthropic
        (
            &[
                ("anthropic-ratelimit-requests-limit", "50"),
                ("anthropic-ratelimit-requests-remaining", "49"),
                ("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:38Z"),
                ("anthropic-ratelimit-input-tokens-remaining", "50000"),
                ("anthropic-ratelimit-input-tokens-reset", "1994-11-06T08:50:37Z"),
                ("anthropic-ratelimit-output-tokens-remaining", "10000"),
                ("anthropic-ratelimit-output-tokens-reset", "1994-11-06T08:49:37Z"),
            ],
            &[(CALLS, 49, 1_000), (WEIGHT, 50_000, 60_000), (WEIGHT, 10_000, 0)],
        ),
        // Half of it is none of it, and nothing means anything that is not known.
        (&[("x-ratelimit-remaining", "0")], &[]),
        (&[("x-ratelimit-reset", "60")], &[]),
        (&[("x-ratelimit-remaining", "0"), ("ratelimit-reset", "60")], &[]),
        (&[("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "60")], &[]),
        (&[("x-ratelimit-remaining", "1.5.2"), ("x-ratelimit-reset", "60")], &[]),
        (&[("x-ratelimit-remaining", "unlimited"), ("x-ratelimit-reset", "60")], &[]),
        (&[("xratelimit-remaining", "0"), ("xratelimit-reset", "60")], &[]),
        (&[("x-ratelimit-remainingrequests", "0"), ("x-ratelimit-resetrequests", "60")], &[]),
        (&[("x-ratelimit-", "0"), ("ratelimit-", "60"), ("", "1"), ("-", "2")], &[]),
        (
            &[("x-ratelimit-remaining", "99999999999999999999"), ("x-ratelimit-reset", "60")],
            &[(CALLS, u32::MAX, 60_000)],
        ),
    ]);
}

#[test]
fn limits_of_other_names_are_other_limits() {
    let which = |fields: &[(&str, &str)]| told(fields, None)[0].which;
    let (left, reset) = (("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "1"));
    let core = which(&[left, reset, ("x-ratelimit-resource", "core")]);
    assert_eq!(
        core,
        which(&[("X-RateLimit-Resource", "core"), ("X-RateLimit-Reset", "9"), ("X-RATELIMIT-REMAINING", "5")])
    );
    for other in [
        which(&[left, reset]),
        which(&[left, reset, ("x-ratelimit-resource", "search")]),
        which(&[("ratelimit-remaining", "1"), ("ratelimit-reset", "1")]),
        which(&[("x-ratelimit-remaining-day", "1"), ("x-ratelimit-reset-day", "1")]),
        which(&[("ratelimit", "core;r=1;t=1")]),
        which(&[("ratelimit", "core;r=1;t=1;pk=:YQ==:")]),
    ] {
        assert_ne!(core, other);
    }
}

#[test]
fn retry_after_goes_before_the_reset_of_what_is_spent() {
    let fields = [("ratelimit", "a;r=0;t=60, b;r=1;t=60, c;r=0"), ("x-ratelimit-remaining", "0")];
    let resets = |retry_after| -> Vec<_> {
        told(&fields, retry_after).iter().map(|limit| (limit.left, limit.reset_in.as_secs())).collect()
    };
    assert_eq!(resets(None), [(0, 60), (1, 60)]);
    assert_eq!(resets(Some(Duration::from_secs(5))), [(0, 5), (1, 60), (0, 5), (0, 5)]);
    assert_eq!(resets(Some(Duration::from_secs(99))), [(0, 99), (1, 60), (0, 99), (0, 99)]);
}

#[test]
fn points_in_time_mean_nothing_without_a_clock() {
    let mut fields = RateLimitFields::new();
    for (name, value) in [
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1609844400"),
        ("x-ratelimit-remaining-day", "0"),
        ("x-ratelimit-reset-day", "7"),
    ] {
        fields.read(name.as_bytes(), value.as_bytes(), None);
    }
    let told = fields.told(None);
    let resets: Vec<_> = told.iter().map(|limit| limit.reset_in).collect();
    assert_eq!(resets, [Duration::from_secs(7)]);
}

#[test]
fn eight_limits_are_read_and_eight_policies() {
    let mut fields = RateLimitFields::new();
    for number in 0..20_u32 {
        let item = std::format!("\"{number}\";r={number};t=1");
        fields.read(b"ratelimit", item.as_bytes(), None);
        let policy = std::format!("\"{number}\";q=1;qu=\"tokens\"");
        fields.read(b"ratelimit-policy", policy.as_bytes(), None);
    }
    let left: Vec<_> = fields.told(None).iter().map(|limit| (limit.left, limit.counts)).collect();
    assert_eq!(left, (0..8).map(|number| (number, WEIGHT)).collect::<Vec<_>>());
    // And one list with too many of them is no fault of the others.
    let mut fields = RateLimitFields::new();
    let list = (0..20).map(|number| std::format!("\"{number}\";r={number};t=1")).collect::<Vec<_>>().join(", ");
    fields.read(b"ratelimit", list.as_bytes(), None);
    assert_eq!(fields.told(None).iter().count(), 8);
}
