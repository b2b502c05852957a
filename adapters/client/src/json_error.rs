use std::fmt;

use serde_json::error::Category;
use serde_path_to_error::Segment;

/// How much of a path is told, in bytes.
const MOST_OF_A_PATH: usize = 256;

/// The longest key that is taken for a name. Tokens and identifiers are longer, most of them.
const LONGEST_NAME: usize = 32;

/// The most digits of a key that is taken for a name. What is drawn at random has more, most of it.
const MOST_DIGITS: usize = 3;

/// What is wrong with a JSON text, and where: without what stood there, which may be a secret.
///
/// ```
/// use steadfast_client::JsonError;
///
/// let error = serde_json::from_str::<u32>(r#""s3cret""#).expect_err("no number");
/// assert_eq!(error.to_string(), r#"invalid type: string "s3cret", expected u32 at line 1 column 8"#);
/// assert_eq!(JsonError::from(error).to_string(), "invalid type: string, expected u32 at line 1 column 8");
/// ```
///
/// Whoever may see the rest has it from [`into_inner`](Self::into_inner).
pub struct JsonError(serde_json::Error);

impl JsonError {
    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.0.line()
    }

    /// The column, from 1.
    pub fn column(&self) -> usize {
        self.0.column()
    }

    /// The error as `serde_json` has it. Its words may hold a part of the text.
    pub fn into_inner(self) -> serde_json::Error {
        self.0
    }
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.classify() {
            // How the text breaks the grammar, in fixed words.
            Category::Syntax | Category::Eof => return self.0.fmt(f),
            Category::Io => f.write_str("it could not be read")?,
            Category::Data => {
                let message = self.0.to_string();
                let place = format!(" at line {} column {}", self.line(), self.column());
                f.write_str(&without_what_was_found(message.strip_suffix(&place).unwrap_or(&message)))?;
            }
        }
        write!(f, " at line {} column {}", self.line(), self.column())
    }
}

/// What serde says of data that does not fit: the kind of what was found, and what was expected, which are words of the
/// type's. What a type says in words of its own may be anything, so it is not passed on.
fn without_what_was_found(message: &str) -> String {
    if ["missing field", "duplicate field"].iter().any(|kind| message.starts_with(kind)) {
        return message.to_owned();
    }
    let kinds = ["invalid type", "invalid value", "invalid length", "unknown variant", "unknown field"];
    if !kinds.iter().any(|kind| message.starts_with(kind)) {
        return "a value that is refused".to_owned();
    }
    // From the right: what was found comes before, and may hold the same words.
    let (found, expected) = message.rsplit_once(", expected ").map_or((message, None), |(f, e)| (f, Some(e)));
    let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
    expected.map_or_else(|| kind.to_owned(), |expected| format!("{kind}, expected {expected}"))
}

/// The same as it is printed.
impl fmt::Debug for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for JsonError {}

/// Where in the text it was: `items[3].price`, or `.` for the whole, and where nobody knows.
///
/// A name that is unknown is no place in what was expected, but something that was found, and is not told. Nor is a key that
/// does not look like a name (see [`is_name`]): that of a map can be anything, and nothing tells it from a struct's. `*` stands
/// for it.
pub(crate) fn path_of(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let message = error.inner().to_string();
    let is_found = |segment: &&Segment| {
        ["field", "variant"].iter().any(|kind| message.starts_with(&format!("unknown {kind} `{segment}`")))
    };
    let mut segments: Vec<_> = error.path().iter().collect();
    if segments.last().is_some_and(is_found) {
        segments.pop();
    }
    let mut path = String::new();
    for segment in segments {
        let (between, part) = match segment {
            Segment::Seq { index } => ("", format!("[{index}]")),
            Segment::Map { key: name } | Segment::Enum { variant: name } if is_name(name) => (".", name.clone()),
            Segment::Map { .. } | Segment::Enum { .. } => (".", "*".to_owned()),
            Segment::Unknown => continue,
        };
        if path.len() + part.len() >= MOST_OF_A_PATH {
            path.push('…');
            break;
        }
        path += if path.is_empty() { "" } else { between };
        path += &part;
    }
    if path.is_empty() { ".".to_owned() } else { path }
}

/// Whether a key looks like what somebody calls a field, and not like what it holds: `billing-address`, `line_2`, `sha256`,
/// `$ref`, and neither an address of mail, nor an identifier that was drawn, nor a token.
fn is_name(key: &str) -> bool {
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte);
    !key.is_empty() && key.len() <= LONGEST_NAME && digits <= MOST_DIGITS && key.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde::de::{DeserializeOwned, Error as _};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        #[serde(rename = "id")]
        _id: u32,
        #[serde(rename = "kind", default)]
        _kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    enum Kind {
        Lamp,
        Chair,
    }

    #[derive(Debug)]
    struct Picky;

    impl<'de> Deserialize<'de> for Picky {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            Err(D::Error::custom(format!("{} is no good", String::deserialize(from)?)))
        }
    }

    fn path<T: DeserializeOwned + fmt::Debug>(text: &str) -> String {
        let mut json = serde_json::Deserializer::from_str(text);
        path_of(&serde_path_to_error::deserialize::<_, T>(&mut json).expect_err("it does not fit"))
    }

    #[test]
    fn a_path_shows_names_and_no_other_keys() {
        type Map = std::collections::BTreeMap<String, Vec<u32>>;
        for (key, want) in [
            ("prices", "prices[0]"),
            ("billing-address", "billing-address[0]"),
            ("line_2", "line_2[0]"),
            ("sha256", "sha256[0]"),
            ("$ref", "$ref[0]"),
            ("", "*[0]"),
            ("ann@example.com", "*[0]"),
            ("the password is secret", "*[0]"),
            ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "*[0]"),
            ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "*[0]"),
            ("4111111111111111", "*[0]"),
            ("é", "*[0]"),
            (r"\u0007", "*[0]"),
            (&"a".repeat(33), "*[0]"),
            (&"a".repeat(1_000_000), "*[0]"),
        ] {
            assert_eq!(path::<Map>(&format!(r#"{{"{key}": [null]}}"#)), want, "{key:.40}");
        }
        assert_eq!(path::<Vec<Map>>(r#"[{}, {"a": [1, null]}]"#), "[1].a[1]");
        assert_eq!(path::<Map>("7"), ".");
        assert_eq!(path::<Vec<Item>>(r#"[{"SECRET": 1}]"#), "[0]");
        assert_eq!(path::<Item>(r#"{"id": 1, "kind": "SECRET"}"#), "kind");
    }

    #[test]
    fn a_path_has_a_bound() {
        #[derive(Debug, Deserialize)]
        struct Deep {
            #[serde(rename = "child_of_its_parent")]
            _child: Option<Box<Deep>>,
        }
        let text = r#"{"child_of_its_parent": "#.repeat(100) + "7";
        let path = path::<Deep>(&text);
        assert!(path.len() < MOST_OF_A_PATH + 4 && path.ends_with('…'), "{path}");
    }

    fn check<T: DeserializeOwned + fmt::Debug>(text: &str, want: &str) {
        let error = serde_json::from_str::<T>(text).expect_err("it does not fit");
        let (line, column) = (error.line(), error.column());
        let error = JsonError::from(error);
        assert_eq!(error.to_string(), format!("{want} at line {line} column {column}"));
        assert!(!format!("{error} {error:?}").contains("SECRET"));
    }

    #[test]
    fn it_says_what_is_wrong_and_not_what_stood_there() {
        check::<Item>("", "EOF while parsing a value");
        check::<Item>("<SECRET>", "expected value");
        check::<Item>(r#"{"id": "SECRET"}"#, "invalid type: string, expected u32");
        check::<Item>(r#"{"id": "SECRET, expected SECRET"}"#, "invalid type: string, expected u32");
        check::<Item>(r#"{"id": "`SECRET"}"#, "invalid type: string, expected u32");
        check::<Item>(r#"{"id": -1}"#, "invalid value: integer, expected u32");
        check::<Item>(r#"{"id": 1.5}"#, "invalid type: floating point, expected u32");
        check::<Item>(r#"{"id": null}"#, "invalid type: null, expected u32");
        check::<Item>("{}", "missing field `id`");
        check::<Item>(r#"{"id": 1, "id": 2}"#, "duplicate field `id`");
        check::<Item>(r#"{"SECRET": 1}"#, "unknown field, expected `id` or `kind`");
        check::<Item>(r#"{"id": 1, "kind": "SECRET"}"#, "unknown variant, expected `Lamp` or `Chair`");
        check::<(u8, u8)>("[1]", "invalid length 1, expected a tuple of size 2");
        check::<Picky>(r#""SECRET""#, "a value that is refused");
        for kind in ["\"Lamp\"", "\"Chair\""] {
            assert!(serde_json::from_str::<Kind>(kind).is_ok());
        }
    }
}
