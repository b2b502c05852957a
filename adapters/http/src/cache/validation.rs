//! What comes of asking the server whether a response that is kept is still the answer (RFC 9111 §4.3), and what an answer to
//! another request does to it (§4.4).

/// By what a server knows a response again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Validators<'a> {
    /// The value of `ETag`.
    pub etag: Option<&'a [u8]>,
    /// The value of `Last-Modified`.
    pub last_modified: Option<&'a [u8]>,
}

/// Whether a 304 with these validators means the response that is kept with those (§4.3.4).
///
/// A strong entity tag means only what has the same. A weak one, or a date, means what has one that corresponds. Without any, it
/// means the one response that it was asked about.
pub fn confirms(kept: Validators<'_>, told: Validators<'_>) -> bool {
    match (kept.etag, told.etag) {
        (Some(kept), Some(told)) if is_weak(told) => opaque(kept) == opaque(told),
        (kept, Some(told)) => kept == Some(told),
        (_, None) => told.last_modified.is_none_or(|told| kept.last_modified.is_none_or(|kept| kept == told)),
    }
}

/// Whether a `HEAD` with these validators and this length speaks of the response that is kept with those (§4.3.5).
pub fn corresponds(kept: Validators<'_>, told: Validators<'_>, kept_length: u64, told_length: Option<u64>) -> bool {
    let same = |kept: Option<&[u8]>, told: Option<&[u8]>| told.is_none() || kept == told;
    let same_length = told_length.is_none_or(|length| length == kept_length);
    same(kept.etag, told.etag) && same(kept.last_modified, told.last_modified) && same_length
}

fn is_weak(etag: &[u8]) -> bool {
    etag.starts_with(b"W/")
}

/// What of an entity tag is compared where weak ones count (RFC 9110 §8.8.3.2).
fn opaque(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

/// Whether a field of a response is kept with it: not if it is about the connection that it came over, or about a proxy (§3.1).
///
/// The fields that `Connection` names are not kept either; the caller has to look there.
pub fn stays(name: &[u8]) -> bool {
    const CONNECTIONS: [&[u8]; 10] = [
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ];
    !CONNECTIONS.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Whether a field of a 304 takes the place of those of that name that are kept (§3.2): not if it is about the content, which
/// stays what it is.
pub fn is_replaced(name: &[u8]) -> bool {
    const CONTENT: [&[u8]; 4] = [b"content-encoding", b"content-length", b"content-range", b"content-type"];
    stays(name) && !CONTENT.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Whether a request with this method leaves what is kept of its target as it is: the safe ones do (RFC 9110 §9.2.1).
///
/// Of a method that nobody knows, the worst is to be thought (RFC 9111 §4.4).
pub fn is_safe(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PROPFIND" | b"REPORT" | b"SEARCH" | b"QUERY")
}

/// Whether what is kept of an unsafe request's target is invalid now that this came of it: a response with this status, or
/// nothing though the server may have acted.
///
/// RFC 9111 §4.4 has it so for all that is no error. An error of the server's (5xx), and no answer, leave open what was done, and
/// whoever reads next should not be told what was before.
pub const fn invalidates(status: Option<u16>) -> bool {
    !matches!(status, Some(400..=499))
}
