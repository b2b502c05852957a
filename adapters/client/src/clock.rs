use steadfast_http::date::UnixTime;

/// What time it is on the wall, if anybody knows.
pub(crate) type WallClock = fn() -> Option<UnixTime>;

/// The operating system's clock. One that stands before 1970 is plainly wrong, and reads as 1970.
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub(crate) fn system() -> Option<UnixTime> {
    use std::time::{SystemTime, UNIX_EPOCH};
    Some(UnixTime::EPOCH + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// None: in a browser the standard library's clock panics.
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub(crate) fn system() -> Option<UnixTime> {
    None
}
