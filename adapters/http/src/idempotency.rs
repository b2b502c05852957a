//! Whether a request may be sent twice.
//!
//! ```
//! use steadfast_core::outcome::Idempotency;
//! use steadfast_http::idempotency;
//!
//! assert_eq!(idempotency::of_method(b"PUT"), Idempotency::Idempotent);
//! assert_eq!(idempotency::of_method(b"POST"), Idempotency::NotIdempotent);
//!
//! let fields: [(&[u8], &[u8]); 1] = [(b"Idempotency-Key", b"8e03978e-40d5-43dd-bc93-6894a57f9324")];
//! assert_eq!(idempotency::of_request(b"POST", fields), Idempotency::Idempotent);
//! ```
//!
//! | Method | Idempotent | Reason |
//! | --- | --- | --- |
//! | GET, HEAD, OPTIONS, TRACE | yes | Safe (RFC 9110 §9.2.1). |
//! | PUT, DELETE | yes | RFC 9110 §9.2.2. |
//! | PROPFIND, REPORT, SEARCH, QUERY | yes | Safe: RFC 4918 §9.1, RFC 3253 §3.6, RFC 5323 §2, and the HTTP QUERY method. |
//! | POST, PATCH, CONNECT, LOCK | no | RFC 9110 §9.2.2, RFC 5789 §2, RFC 4918 §9.10. |
//! | any other | no | Nothing is known of it. Methods are case-sensitive (RFC 9110 §9.1): `get` is another one. |
//! | any, with an `Idempotency-Key` | yes | The server recognises the second one (draft-ietf-httpapi-idempotency-key-header). |
//!
//! # When not to use it
//!
//! When the API is known better than its methods: a server that ignores the key acts twice, a GET that counts visits
//! counts two, a POST that only searches could be repeated. Then name the [`Idempotency`] yourself.

use steadfast_core::outcome::Idempotency;

/// Whether a request with `method` is idempotent, if nothing else is known of it.
pub const fn of_method(method: &[u8]) -> Idempotency {
    match method {
        b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE" => Idempotency::Idempotent,
        b"PROPFIND" | b"REPORT" | b"SEARCH" | b"QUERY" => Idempotency::Idempotent,
        _ => Idempotency::NotIdempotent,
    }
}

/// Whether a request with `method` and these header fields, as pairs of name and value, is idempotent.
///
/// A field `Idempotency-Key` makes it so, unless its value is empty: no server can tell such a request from the next.
pub fn of_request<'a>(method: &[u8], fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Idempotency {
    let is_key =
        |(name, value): (&[u8], &[u8])| name.eq_ignore_ascii_case(b"idempotency-key") && !value.trim_ascii().is_empty();
    if fields.into_iter().any(is_key) {
        return Idempotency::Idempotent;
    }
    of_method(method)
}

#[cfg(test)]
mod tests {
    use super::Idempotency::{Idempotent, NotIdempotent};
    use super::{Idempotency, of_method, of_request};

    fn check(method: &str, fields: &[(&str, &str)], want: Idempotency) {
        let bytes = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert_eq!(of_request(method.as_bytes(), bytes), want, "{method} {fields:?}");
        if fields.is_empty() {
            assert_eq!(of_method(method.as_bytes()), want, "{method}");
        }
    }

    #[test]
    fn methods_are_idempotent_as_registered_and_case_sensitive() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PROPFIND", "REPORT", "SEARCH", "QUERY"] {
            check(method, &[], Idempotent);
        }
        for method in ["POST", "PATCH", "CONNECT", "LOCK", "get", "Put", "GET ", "GETS", "GE", "", "\u{e9}"] {
            check(method, &[], NotIdempotent);
        }
    }

    #[test]
    fn a_key_makes_any_request_idempotent() {
        check("POST", &[("Idempotency-Key", "k")], Idempotent);
        check("PATCH", &[("accept", "*/*"), ("IDEMPOTENCY-KEY", " k ")], Idempotent);
        check("POST", &[("idempotency-key", ""), ("idempotency-key", "k")], Idempotent);
        check("POST", &[("idempotency-key", "")], NotIdempotent);
        check("POST", &[("idempotency-key", " \t")], NotIdempotent);
        check("POST", &[("x-idempotency-key", "k")], NotIdempotent);
        check("POST", &[("accept", "idempotency-key")], NotIdempotent);
        check("GET", &[("idempotency-key", "")], Idempotent);
    }
}
