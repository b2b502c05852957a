//! The three ways in which HTTP writes a date.
//!
//! ```
//! use steadfast_http::date::{self, UnixTime};
//!
//! let now = UnixTime::from_secs(1_767_225_600); // The first second of 2026.
//! let same_second = UnixTime::from_secs(784_111_777);
//! assert_eq!(date::parse(b"Sun, 06 Nov 1994 08:49:37 GMT", now), Some(same_second)); // IMF-fixdate
//! assert_eq!(date::parse(b"Sunday, 06-Nov-94 08:49:37 GMT", now), Some(same_second)); // RFC 850
//! assert_eq!(date::parse(b"Sun Nov  6 08:49:37 1994", now), Some(same_second)); // asctime
//! ```
//!
//! The grammar is that of RFC 9110 §5.6.7, to the letter and the case. White space around the value is no part of it.
//! What that means, and what it leaves open:
//!
//! | Case | Decision | Reason |
//! | --- | --- | --- |
//! | the name of the day is wrong | the date counts | The rest says it all, and to refuse it would be to come back early. |
//! | second 60 | the first second of the next minute | Unix time has no leap seconds. |
//! | 31 April, 29 February 2023, 24:00:00 | no date | There is no such time. |
//! | before 1970, from the year 0 on | a negative [`UnixTime`] | The grammar has it, and "long ago" is an answer. |
//! | a year of two digits | the latest that is at most 50 years after `now` | A MUST of §5.6.7, and it goes for every century. |
//!
//! # When not to use it
//!
//! For dates of other protocols: mail (RFC 5322) has time zones, cookies (RFC 6265) a looser grammar.

mod rfc3339;
#[cfg(test)]
mod tests;
mod unix_time;

pub use rfc3339::parse_timestamp;
pub use unix_time::UnixTime;

const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

const FULL_DAYS: [&[u8]; 7] = [b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday"];

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Reads the value of a field that holds a date. `now` places a year of two digits, and matters for nothing else.
pub fn parse(value: &[u8], now: UnixTime) -> Option<UnixTime> {
    let value = Reader(value.trim_ascii());
    imf_fixdate(value).or_else(|| rfc850_date(value, now)).or_else(|| asctime_date(value))
}

/// Writes a date as HTTP has it (`IMF-fixdate`). `None` before the year 0 and after 9999, which the form cannot hold.
///
/// ```
/// use steadfast_http::date::{self, UnixTime};
///
/// let written = date::format(UnixTime::from_secs(784_111_777));
/// assert_eq!(written.as_ref().map(<[u8; 29]>::as_slice), Some(&b"Sun, 06 Nov 1994 08:49:37 GMT"[..]));
/// ```
pub fn format(time: UnixTime) -> Option<[u8; 29]> {
    let (year, month, day, second) = time.to_calendar()?;
    let mut written = *b"Day, 00 Mon 0000 00:00:00 GMT";
    let mut text = |at: usize, text: &[u8]| written.iter_mut().skip(at).zip(text).for_each(|(to, from)| *to = *from);
    let weekday = time.as_secs().div_euclid(unix_time::SECONDS_PER_DAY).saturating_add(3).rem_euclid(7);
    text(0, DAYS.get(usize::try_from(weekday).ok()?)?);
    text(8, MONTHS.get(usize::try_from(month - 1).ok()?)?);
    let mut number = |at: usize, digits: usize, mut number: i64| {
        for place in (at..at + digits).rev() {
            if let (Some(to), Ok(digit)) = (written.get_mut(place), u8::try_from(number % 10)) {
                *to = b'0' + digit;
            }
            number /= 10;
        }
    };
    number(5, 2, day);
    number(12, 4, year);
    number(17, 2, second / 3600);
    number(20, 2, second / 60 % 60);
    number(23, 2, second % 60);
    Some(written)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(mut value: Reader<'_>) -> Option<UnixTime> {
    value.one_of(&DAYS)?;
    value.text(b", ")?;
    let day = value.number(2)?;
    value.text(b" ")?;
    let month = value.one_of(&MONTHS)?;
    value.text(b" ")?;
    let year = value.number(4)?;
    value.text(b" ")?;
    let second = value.second_of_day()?;
    value.text(b" GMT")?;
    value.end()?;
    UnixTime::from_calendar(year, month, day, second)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850_date(mut value: Reader<'_>, now: UnixTime) -> Option<UnixTime> {
    value.one_of(&FULL_DAYS)?;
    value.text(b", ")?;
    let day = value.number(2)?;
    value.text(b"-")?;
    let month = value.one_of(&MONTHS)?;
    value.text(b"-")?;
    let year_of_century = value.number(2)?;
    value.text(b" ")?;
    let second = value.second_of_day()?;
    value.text(b" GMT")?;
    value.end()?;
    // More than 50 years in the future is what lies in the future still when it is moved 50 years back.
    let year = (0..100)
        .rev()
        .map(|century| 100 * century + year_of_century)
        .find(|year| UnixTime::from_calendar_rolling(year - 50, month, day, second) <= now)?;
    UnixTime::from_calendar(year, month, day, second)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime_date(mut value: Reader<'_>) -> Option<UnixTime> {
    value.one_of(&DAYS)?;
    value.text(b" ")?;
    let month = value.one_of(&MONTHS)?;
    value.text(b" ")?;
    let digits = if value.text(b" ").is_some() { 1 } else { 2 };
    let day = value.number(digits)?;
    value.text(b" ")?;
    let second = value.second_of_day()?;
    value.text(b" ")?;
    let year = value.number(4)?;
    value.end()?;
    UnixTime::from_calendar(year, month, day, second)
}

/// What is left to read. Each method takes what it names from the front, or answers `None`.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn text(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// One of `names`, as its place among them, counted from 1.
    fn one_of(&mut self, names: &[&[u8]]) -> Option<i64> {
        let mut numbered = names.iter().zip(1..);
        numbered.find_map(|(name, number)| self.text(name).map(|()| number))
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| 10 * number + i64::from(byte - b'0')))
    }

    /// `00:00:00` to `23:59:60`, as seconds since midnight. Second 60 is the next minute's first.
    fn second_of_day(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.text(b":")?;
        let minute = self.number(2)?;
        self.text(b":")?;
        let second = self.number(2)?;
        (hour < 24 && minute < 60 && second <= 60).then_some((hour * 60 + minute) * 60 + second)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
