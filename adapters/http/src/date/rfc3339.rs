use super::{Reader, UnixTime};

/// Reads a timestamp of RFC 3339, `1994-11-06T08:49:37Z`, which some fields have in place of a date of HTTP.
///
/// A fraction of a second is rounded up, and second 60 is the next minute's first. The offset may be any of up to 23:59.
pub fn parse_timestamp(value: &[u8]) -> Option<UnixTime> {
    let mut value = Reader(value.trim_ascii());
    let year = value.number(4)?;
    value.text(b"-")?;
    let month = value.number(2)?;
    value.text(b"-")?;
    let day = value.number(2)?;
    value.one_of(&[b"T", b"t", b" "])?;
    let second = value.second_of_day()?;
    let fraction = fraction(&mut value)?;
    let offset = offset(&mut value)?;
    value.end()?;
    let exists = (1..=12).contains(&month);
    let local = exists.then(|| UnixTime::from_calendar(year, month, day, second)).flatten()?;
    Some(UnixTime::from_secs(local.as_secs() + fraction - offset))
}

/// `.25`, if it is there, as 1 for anything above zero.
fn fraction(value: &mut Reader<'_>) -> Option<i64> {
    if value.text(b".").is_none() {
        return Some(0);
    }
    let digits = value.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = value.0.split_at_checked(digits).filter(|(fraction, _)| !fraction.is_empty())?;
    value.0 = rest;
    Some(i64::from(fraction.iter().any(|digit| *digit != b'0')))
}

/// `Z`, or `+01:00`, in seconds.
fn offset(value: &mut Reader<'_>) -> Option<i64> {
    let sign = match value.one_of(&[b"Z", b"z", b"+", b"-"])? {
        1 | 2 => return Some(0),
        3 => 1,
        _ => -1,
    };
    let hours = value.number(2)?;
    value.text(b":")?;
    let minutes = value.number(2)?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

#[cfg(test)]
mod tests {
    use super::{UnixTime, parse_timestamp};

    #[test]
    fn timestamps_are_read_rounded_up_and_refused() {
        for (value, want) in [
            (&b"1994-11-06T08:49:37Z"[..], Some(784_111_777)),
            (b" 1994-11-06t08:49:37z ", Some(784_111_777)),
            (b"1994-11-06 08:49:37.000Z", Some(784_111_777)),
            (b"1994-11-06T08:49:37.0001Z", Some(784_111_778)),
            (b"1994-11-06T10:19:37+01:30", Some(784_111_777)),
            (b"1994-11-06T07:49:37-01:00", Some(784_111_777)),
            (b"1990-12-31T23:59:60Z", Some(662_688_000)),
            (b"0000-01-01T00:00:00Z", Some(-62_167_219_200)),
            (b"9999-12-31T23:59:59Z", Some(253_402_300_799)),
            (b"1994-11-06T08:49:37", None),
            (b"1994-11-06T08:49:37.Z", None),
            (b"1994-11-06T24:00:00Z", None),
            (b"1994-13-06T08:49:37Z", None),
            (b"1994-00-06T08:49:37Z", None),
            (b"1994-02-29T08:49:37Z", None),
            (b"1994-11-06T08:49:37+24:00", None),
            (b"1994-11-06T08:49:37+1:00", None),
            (b"1994-11-06T08:49:37Zulu", None),
            (b"94-11-06T08:49:37Z", None),
            (b"", None),
        ] {
            assert_eq!(parse_timestamp(value), want.map(UnixTime::from_secs), "{}", value.escape_ascii());
        }
    }
}
