use std::fmt;

/// What a transport cannot do, since what it stands on cannot. Whatever is here, nobody gets a wrong answer, nothing is
/// sent twice, and no failure looks like a success.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limitation {
    /// Every request has a connection of its own.
    NoKeepAlive,
    /// Other methods than those of RFC 9110 and its extensions are never sent.
    NoOtherMethods,
    /// A response with another status than those of the standards is an error: "may have been processed".
    NoOtherStatuses,
    /// A `HEAD` is never sent.
    NoHead,
    /// A request with another field is never sent, and a response with one is an error: "may have been processed".
    OnlyAsciiFields,
    /// Several values of a request's field are sent in one field, in a list.
    ListsInOneField,
    /// A response of HTTP/1.0 is an error: "may have been processed".
    NoHttp10,
    /// A body that ends with its connection is an error of the body.
    NoBodyWithoutLength,
    /// A response that is preceded by a 1xx is an error: "may have been processed".
    NoInterimResponses,
    /// A chunk with an extension is an error of the body.
    NoChunkExtensions,
    /// A head that ends early is an error of the body.
    HalfHeadIsBrokenBody,
    /// The head of a response arrives with the first byte of its body, so what breaks before that is no error of the body,
    /// but "may have been processed".
    HeadComesWithBody,
    /// An exchange that is dropped is over when the server says something more, or when its transport is dropped: not before.
    DroppedWithTransport,
}

impl fmt::Display for Limitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKeepAlive => "no keep-alive",
            Self::NoOtherMethods => "no methods but those of the standards",
            Self::NoOtherStatuses => "no statuses but those of the standards",
            Self::NoHead => "no `HEAD`",
            Self::OnlyAsciiFields => "only ASCII in fields",
            Self::ListsInOneField => "several values of a request's field are sent in one",
            Self::NoHttp10 => "no HTTP/1.0",
            Self::NoBodyWithoutLength => "no body that ends with its connection",
            Self::NoInterimResponses => "no response after a 1xx",
            Self::NoChunkExtensions => "no extensions of chunks",
            Self::HeadComesWithBody => "a head comes with the first byte of its body",
            Self::DroppedWithTransport => "what is dropped is closed when the server speaks, or with its transport",
            Self::HalfHeadIsBrokenBody => "a head that is cut short is told as a broken body",
        })
    }
}
