use core::time::Duration;

/// The directives of one `Cache-Control` field (RFC 9111 §5.2), in order: names as they are written, and arguments.
pub(super) struct Directives<'a>(pub(super) &'a [u8]);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Argument<'a> {
    None,
    /// A token, or what stands between quotes, with its escapes.
    Text(&'a [u8]),
    /// Not in the grammar.
    Broken,
}

impl Argument<'_> {
    /// A number of seconds (§1.2.2). More than fit read as the most that do.
    pub(super) fn seconds(self) -> Option<Duration> {
        match self {
            Self::Text(digits) => seconds(digits),
            Self::None | Self::Broken => None,
        }
    }
}

pub(super) fn seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, byte| {
        byte.is_ascii_digit().then(|| number.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
    });
    number.map(Duration::from_secs)
}

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a [u8], Argument<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0;
        let begins = rest.iter().position(|byte| !matches!(byte, b',' | b' ' | b'\t'))?;
        let rest = rest.get(begins..)?;
        let ends = rest.iter().position(|byte| matches!(byte, b',' | b'=')).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(ends);
        let (argument, rest) = match rest.split_first() {
            Some((b'=', rest)) => argument(rest),
            _ => (Argument::None, rest),
        };
        self.0 = rest;
        Some((name.trim_ascii(), argument))
    }
}

/// What stands behind the `=`, and what behind that, from the comma on.
fn argument(field: &[u8]) -> (Argument<'_>, &[u8]) {
    let field = field.trim_ascii_start();
    let Some(quoted) = field.strip_prefix(b"\"") else {
        let (token, rest) = field.split_at(field.iter().position(|byte| *byte == b',').unwrap_or(field.len()));
        return (Argument::Text(token.trim_ascii_end()), rest);
    };
    let mut escaped = false;
    let closes = quoted.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    // Without its end, a text in quotes goes on to the end of the field: nobody knows what of it was meant as a directive.
    let Some(closes) = closes else { return (Argument::Broken, &[]) };
    let (text, rest) = quoted.split_at(closes);
    let rest = rest.get(1..).unwrap_or_default();
    let (behind, rest) = rest.split_at(rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len()));
    let argument = if behind.trim_ascii().is_empty() { Argument::Text(text) } else { Argument::Broken };
    (argument, rest)
}

#[cfg(test)]
mod tests {
    use super::Argument::{Broken, None, Text};
    use super::*;

    #[test]
    fn directives_are_read_as_the_grammar_has_them() {
        type Row<'a> = (&'a [u8], &'a [(&'a [u8], Argument<'a>)]);
        let table: [Row<'_>; 11] = [
            (b"", &[]),
            (b" , ,\t,", &[]),
            (b"no-store", &[(b"no-store", None)]),
            (b"a=1,b = 2 , c", &[(b"a", Text(b"1")), (b"b", Text(b"2")), (b"c", None)]),
            (b"a=\"1, b=2\",c", &[(b"a", Text(b"1, b=2")), (b"c", None)]),
            (b"a=\"x\\\"y\",c", &[(b"a", Text(b"x\\\"y")), (b"c", None)]),
            (b"a=\"x\\\\\",c", &[(b"a", Text(b"x\\\\")), (b"c", None)]),
            (b"a=\"x, no-store", &[(b"a", Broken)]),
            (b"a=\"x\" y, c", &[(b"a", Broken), (b"c", None)]),
            (b"a=", &[(b"a", Text(b""))]),
            (b"=1", &[(b"", Text(b"1"))]),
        ];
        for (field, want) in table {
            let mut got = Directives(field);
            for directive in want {
                assert_eq!(got.next().as_ref(), Some(directive), "{field:?}");
            }
            assert_eq!(got.next(), Option::None, "{field:?}");
        }
    }

    #[test]
    fn seconds_that_no_integer_holds_are_the_most_there_are() {
        for (argument, want) in [
            (Text(b"0"), Some(0)),
            (Text(b"0060"), Some(60)),
            (Text(b"2147483648"), Some(2_147_483_648)),
            (Text(b"18446744073709551615"), Some(u64::MAX)),
            (Text(b"99999999999999999999999"), Some(u64::MAX)),
            (Text(b""), Option::None),
            (Text(b"-1"), Option::None),
            (Text(b"+1"), Option::None),
            (Text(b"1.5"), Option::None),
            (Text(b"1 2"), Option::None),
            (None, Option::None),
            (Broken, Option::None),
        ] {
            assert_eq!(argument.seconds(), want.map(Duration::from_secs), "{argument:?}");
        }
    }
}
