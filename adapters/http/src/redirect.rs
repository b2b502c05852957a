//! What request follows a redirect.
//!
//! ```
//! use steadfast_http::redirect::{Next, next};
//!
//! assert_eq!(next(303, b"POST"), Some(Next::Get));
//! assert_eq!(next(308, b"POST"), Some(Next::Same));
//! assert_eq!(next(304, b"GET"), None);
//! ```
//!
//! | Status | Next request | Reason | RFC |
//! | --- | --- | --- | --- |
//! | 301, 302 | the same; for a POST a GET | "For historical reasons, a user agent MAY change the request method from POST to GET": all do, and servers count on it. | 9110 §15.4.2, §15.4.3 |
//! | 303 | a GET; for a HEAD a HEAD | The answer is elsewhere, and is to be retrieved. | 9110 §15.4.4 |
//! | 307, 308 | the same | "MUST NOT change the request method". | 9110 §15.4.8, §15.4.9 |
//! | 300 | none | A choice, which nobody here can make. | 9110 §15.4.1 |
//! | 304 | none | It leads back to a copy, and not elsewhere. | 9110 §15.4.5 |
//! | 305, 306 | none | Deprecated for its security, and unused. | 9110 §15.4.6, §15.4.7 |
//! | any other | none | It is no redirect, or nothing is known of it. | 9110 §15.4 |
//!
//! # When not to use it
//!
//! To decide *whether* to follow. That takes the origins of both places, what the request carries, and how often it was
//! sent elsewhere already: whoever has URLs decides that.

/// The request that follows a redirect.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Next {
    /// With the same method and the same content.
    Same,
    /// A GET, without the content and the fields that describe it.
    Get,
}

/// The request that follows one with `method` that was answered with `status`; `None` if none does.
pub const fn next(status: u16, method: &[u8]) -> Option<Next> {
    match (status, method) {
        (301 | 302, b"POST") => Some(Next::Get),
        (303, b"GET" | b"HEAD") => Some(Next::Same),
        (303, _) => Some(Next::Get),
        (301 | 302 | 307 | 308, _) => Some(Next::Same),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Next, next};

    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "post"];

    /// The statuses, and the methods that become a GET; all others stay what they are.
    fn check(statuses: &[u16], become_get: &[&str]) {
        for (status, method) in statuses.iter().flat_map(|status| METHODS.map(|method| (*status, method))) {
            let want = if become_get.contains(&method) { Next::Get } else { Next::Same };
            assert_eq!(next(status, method.as_bytes()), Some(want), "{method} {status}");
        }
    }

    #[test]
    fn methods_change_as_rfc_9110_15_4_says() {
        check(&[301, 302], &["POST"]); // §15.4.2, §15.4.3
        check(&[303], &["POST", "PUT", "PATCH", "DELETE", "post"]); // §15.4.4
        check(&[307, 308], &[]); // §15.4.8, §15.4.9
    }

    #[test]
    fn every_other_status_leads_nowhere() {
        let known = [301, 302, 303, 307, 308];
        for status in (0..=u16::MAX).filter(|status| !known.contains(status)) {
            assert_eq!(next(status, b"GET"), None, "{status}");
        }
    }
}
