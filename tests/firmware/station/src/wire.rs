//! What goes over the one serial line beside the link's own bytes: the time, and what the station says.
//!
//! The firmware has no clock in this run. It is told the time, so that a run is the same each time and takes no longer
//! than it computes: whenever everything waits, it says until when, and the host says what comes first.
//!
//! | From the firmware | Payload | |
//! | --- | --- | --- |
//! | [`HELLO`] | | It runs. The host answers at time zero, with seed and number of readings as the bytes. |
//! | [`SENT`] | bytes | They go out on the link, now. |
//! | [`SAID`] | a line of text | To be compared with what the host says. |
//! | [`NOTED`] | a line of text | Not to be compared: sizes. |
//! | [`WAITS`] | microseconds, `u64` | It waits until that time, or until bytes arrive. The host answers. |
//! | [`ENDED`] | | It exits. |
//!
//! Each is its kind, the length of the payload as `u16`, and the payload. The host's answer is the time in microseconds
//! as `u64`, the length of what has arrived on the link as `u16`, and that. All numbers have their lowest byte first.

/// See the [module](self).
pub const HELLO: u8 = b'?';
/// See the [module](self).
pub const SENT: u8 = b'>';
/// See the [module](self).
pub const SAID: u8 = b'"';
/// See the [module](self).
pub const NOTED: u8 = b'#';
/// See the [module](self).
pub const WAITS: u8 = b'w';
/// See the [module](self).
pub const ENDED: u8 = b'.';
