//! As much of structured fields (RFC 9651) as lists of items with parameters take. What is not in the grammar is
//! malformed as a whole, as §4.2 has it. Inner lists are malformed too: no field that is read here has any.

/// What stands where a value may (RFC 9651 §3.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Bare<'a> {
    Integer(i64),
    /// As written, without its quotes: with a backslash before each quote and backslash.
    String(&'a [u8]),
    Token(&'a [u8]),
    /// In base64.
    Bytes(&'a [u8]),
    /// A decimal, a boolean, a date or a display string.
    Other,
}

impl<'a> Bare<'a> {
    /// What identifies something: a string or, in earlier drafts, a token.
    pub(super) const fn name(self) -> Option<&'a [u8]> {
        match self {
            Self::String(name) | Self::Token(name) => Some(name),
            Self::Integer(_) | Self::Bytes(_) | Self::Other => None,
        }
    }

    /// A number that is not negative.
    pub(super) fn count(self) -> Option<u64> {
        match self {
            Self::Integer(number) => u64::try_from(number).ok(),
            Self::String(_) | Self::Token(_) | Self::Bytes(_) | Self::Other => None,
        }
    }
}

/// Reads a list (§4.2.1), and hands each member to `member`: the item, and its parameters to be read.
///
/// `None` if it is malformed; then some members may have been handed out already.
pub(super) fn list<'a>(value: &'a [u8], mut member: impl FnMut(Bare<'a>, Parameters<'a>)) -> Option<()> {
    members(value, |rest| {
        let item = rest.bare()?;
        member(item, rest.parameters()?);
        Some(())
    })
}

/// Reads a dictionary (§4.2.2), and hands each member to `member`: its key and its item.
///
/// `None` if it is malformed; then some members may have been handed out already.
pub(super) fn dictionary<'a>(value: &'a [u8], mut member: impl FnMut(&'a [u8], Bare<'a>)) -> Option<()> {
    members(value, |rest| {
        let key = rest.key()?;
        let item = if rest.byte(b'=') { rest.bare()? } else { Bare::Other };
        rest.parameters()?;
        member(key, item);
        Some(())
    })
}

fn members<'a>(value: &'a [u8], mut member: impl FnMut(&mut Rest<'a>) -> Option<()>) -> Option<()> {
    let mut rest = Rest(value);
    rest.skip(b" ");
    loop {
        member(&mut rest)?;
        let end = rest.0;
        rest.skip(b" \t");
        if rest.0.is_empty() {
            // Behind the last there may be spaces and no tabs (§4.2).
            return end.iter().all(|byte| *byte == b' ').then_some(());
        }
        if !rest.byte(b',') {
            return None;
        }
        rest.skip(b" \t");
    }
}

/// The parameters of an item (§3.1.2), which are known to be well-formed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters<'a>(&'a [u8]);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], Bare<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = Rest(self.0);
        let parameter = rest.parameter()?;
        self.0 = rest.0;
        Some(parameter)
    }
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn skip(&mut self, bytes: &[u8]) {
        self.take_while(|byte| bytes.contains(&byte));
    }

    fn byte(&mut self, byte: u8) -> bool {
        let stripped = self.0.strip_prefix(&[byte]);
        self.0 = stripped.unwrap_or(self.0);
        stripped.is_some()
    }

    fn take_while(&mut self, mut wanted: impl FnMut(u8) -> bool) -> &'a [u8] {
        let length = self.0.iter().take_while(|byte| wanted(**byte)).count();
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// All parameters that follow.
    fn parameters(&mut self) -> Option<Parameters<'a>> {
        let before = self.0;
        while self.0.first() == Some(&b';') {
            self.parameter()?;
        }
        let length = before.len() - self.0.len();
        before.get(..length).map(Parameters)
    }

    fn parameter(&mut self) -> Option<(&'a [u8], Bare<'a>)> {
        if !self.byte(b';') {
            return None;
        }
        self.skip(b" ");
        let key = self.key()?;
        Some((key, if self.byte(b'=') { self.bare()? } else { Bare::Other }))
    }

    /// §4.2.3.3
    fn key(&mut self) -> Option<&'a [u8]> {
        let is_key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte);
        let key = self.take_while(is_key);
        let begins_well = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'*';
        key.first().is_some_and(begins_well).then_some(key)
    }

    /// §4.2.3.1
    fn bare(&mut self) -> Option<Bare<'a>> {
        match *self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string().map(Bare::String),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
                Some(Bare::Token(self.take_while(is_token)))
            }
            b':' => {
                self.byte(b':');
                let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
                let bytes = self.take_while(is_base64);
                self.byte(b':').then_some(Bare::Bytes(bytes))
            }
            b'?' => {
                self.byte(b'?');
                (self.byte(b'0') || self.byte(b'1')).then_some(Bare::Other)
            }
            b'@' => {
                self.byte(b'@');
                matches!(self.number()?, Bare::Integer(_)).then_some(Bare::Other)
            }
            b'%' => {
                self.byte(b'%');
                self.string().map(|_| Bare::Other)
            }
            _ => None,
        }
    }

    /// §4.2.4: an integer of up to 15 digits, or a decimal of up to 12 and 3.
    fn number(&mut self) -> Option<Bare<'a>> {
        let is_negative = self.byte(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if self.byte(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let fits = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
            return fits.then_some(Bare::Other);
        }
        let number = digits.iter().take(15).fold(0, |number, digit| 10 * number + i64::from(digit - b'0'));
        (1..=15).contains(&digits.len()).then_some(Bare::Integer(if is_negative { -number } else { number }))
    }

    /// §4.2.5
    fn string(&mut self) -> Option<&'a [u8]> {
        if !self.byte(b'"') {
            return None;
        }
        let mut is_escaped = false;
        let mut is_well_formed = true;
        let string = self.take_while(|byte| {
            if is_escaped {
                is_escaped = false;
                is_well_formed &= byte == b'"' || byte == b'\\';
                return true;
            }
            is_escaped = byte == b'\\';
            is_well_formed &= byte == b' ' || byte.is_ascii_graphic();
            byte != b'"'
        });
        (self.byte(b'"') && is_well_formed).then_some(string)
    }
}
