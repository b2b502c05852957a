use super::Unit;

/// FNV-1a of 32 bits: tells the limits of one server apart, and keeps no partition key in memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Hash(u32);

impl Hash {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(0x811c_9dc5).and(bytes)
    }

    /// With more bytes behind those before, in lower case.
    pub(super) fn and(self, bytes: &[u8]) -> Self {
        let step = |hash: u32, byte: &u8| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
        Self(bytes.iter().fold(self.0, step))
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0.rotate_left(7) ^ other.0)
    }

    pub(super) const fn number(self) -> u32 {
        self.0
    }
}

/// What a field says, and of which limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Means {
    /// `RateLimit`
    Limits,
    /// `RateLimit-Policy`
    Policies,
    Remaining(Hash, Unit),
    Reset(Hash, Unit),
    /// The same, from now on, whatever its size.
    ResetAfter(Hash, Unit),
    /// The same, in milliseconds.
    ResetMillis(Hash, Unit),
    /// Which bucket, or which kind of resource, the other fields are about.
    Scope,
}

/// What a field of this name says.
pub(super) fn meaning(name: &[u8]) -> Option<Means> {
    if name.eq_ignore_ascii_case(b"ratelimit") {
        return Some(Means::Limits);
    }
    if name.eq_ignore_ascii_case(b"ratelimit-policy") {
        return Some(Means::Policies);
    }
    let (vendor, words) = after_prefix(name)?;
    if words.eq_ignore_ascii_case(b"bucket") || words.eq_ignore_ascii_case(b"resource") {
        return Some(Means::Scope);
    }
    // Longer ones first: others begin with the same word.
    let roles: [&[u8]; 4] = [b"remaining", b"reset-after", b"reset-ms", b"reset"];
    let (role, label) = roles.into_iter().find_map(|role| Some((role, without(words, role)?)))?;
    let unit = if says_token(label) { Unit::Tokens } else { Unit::Requests };
    // The separator cannot be in a label.
    let which = Hash::of(vendor).and(b":").and(label);
    Some(match role {
        b"remaining" => Means::Remaining(which, unit),
        b"reset-after" => Means::ResetAfter(which, unit),
        b"reset-ms" => Means::ResetMillis(which, unit),
        _ => Means::Reset(which, unit),
    })
}

/// Whether a unit or a label is about tokens.
pub(super) fn says_token(label: &[u8]) -> bool {
    label.windows(b"token".len()).any(|part| part.eq_ignore_ascii_case(b"token"))
}

/// Splits `x-ratelimit-reset` into `x-` and `reset`.
fn after_prefix(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let starts = (0..name.len()).filter(|start| *start == 0 || name.get(start - 1) == Some(&b'-'));
    starts.into_iter().find_map(|start| {
        let (vendor, rest) = name.split_at_checked(start)?;
        let words = strip_prefix(rest, b"ratelimit-").or_else(|| strip_prefix(rest, b"rate-limit-"))?;
        Some((vendor, words))
    })
}

/// What `requests-reset`, `reset-requests` or `reset` say beside their role.
fn without<'a>(words: &'a [u8], role: &[u8]) -> Option<&'a [u8]> {
    if words.eq_ignore_ascii_case(role) {
        return Some(b"");
    }
    let behind = strip_prefix(words, role).and_then(|rest| rest.strip_prefix(b"-"));
    behind.or_else(|| {
        let (label, end) = words.split_at_checked(words.len().checked_sub(role.len())?)?;
        end.eq_ignore_ascii_case(role).then_some(label)?.strip_suffix(b"-")
    })
}

fn strip_prefix<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
