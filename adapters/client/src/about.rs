//! What observers hear of a call beside what its policies decide, by the names of OpenTelemetry.

use std::fmt;

use http::{Method, StatusCode};
use steadfast_core::event::{Detail, Event, Observer};
use steadfast_core::limits::Told;
use steadfast_core::outcome::{Classified, Outcome};
use steadfast_core::time::Instant;
use url::Url;

/// What the attempts of a call send, and where.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    /// How many were made before, for redirects that led here.
    pub(crate) counted: u32,
}

impl<'a> About<'a> {
    /// An observer that hears it, of each attempt as it starts.
    pub(crate) const fn told_to<O>(self, observer: &'a O) -> Informed<'a, O> {
        Informed { about: self, observer }
    }

    fn tell(self, attempt: u32, mut note: impl FnMut(&'static str, Detail<'_>)) {
        let Self { method, url, counted } = self;
        note("http.request.method", Detail::Words(&known(method)));
        if let Some(host) = url.host_str() {
            note("server.address", Detail::Words(&host));
        }
        if let Some(port) = url.port_or_known_default() {
            note("server.port", Detail::Number(port.into()));
        }
        note("url.full", Detail::Words(&Redacted(url)));
        let resent = counted.saturating_add(attempt).saturating_sub(1);
        if resent > 0 {
            note("http.request.resend_count", Detail::Number(resent.into()));
        }
    }
}

/// A method as the convention has it: what is none of the usual ones is `_OTHER`, so that labels are few.
fn known(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE" | "CONNECT") => known,
        _ => "_OTHER",
    }
}

/// A URL without what may be secret: its query has names and no values, and there is no user's name, password or fragment.
struct Redacted<'a>(&'a Url);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0;
        write!(f, "{}{}", url.origin().ascii_serialization(), url.path())?;
        let Some(query) = url.query() else { return Ok(()) };
        for (place, parameter) in query.split('&').enumerate() {
            f.write_str(if place == 0 { "?" } else { "&" })?;
            match parameter.split_once('=') {
                Some((name, _)) => write!(f, "{name}=REDACTED")?,
                None => f.write_str("REDACTED")?,
            }
        }
        Ok(())
    }
}

/// The client's observer, and what it hears of this call.
pub(crate) struct Informed<'a, O> {
    about: About<'a>,
    observer: &'a O,
}

impl<O: Observer> Observer for Informed<'_, O> {
    type Call = O::Call;

    fn observe(&self, now: Instant, event: &Event) {
        self.observer.observe(now, event);
    }

    fn observe_call(&self, now: Instant, call: &mut O::Call, event: &Event) {
        self.observer.observe_call(now, call, event);
        if let Event::AttemptStarted { attempt, .. } = *event {
            self.about.tell(attempt, |name, value| self.observer.detail(call, attempt, name, value));
        }
    }

    fn detail(&self, call: &mut O::Call, attempt: u32, name: &'static str, value: Detail<'_>) {
        self.observer.detail(call, attempt, name, value);
    }

    fn within<R>(&self, call: &mut O::Call, attempt: u32, piece: impl FnOnce() -> R) -> R {
        self.observer.within(call, attempt, piece)
    }
}

/// How an attempt ended, for policies and for observers.
pub(crate) struct Judged {
    pub(crate) outcome: Outcome,
    pub(crate) told: Told,
    pub(crate) status: Option<StatusCode>,
    pub(crate) error: Option<&'static str>,
}

impl Classified for Judged {
    fn outcome(&self) -> Outcome {
        self.outcome
    }

    fn told(&self) -> Option<&Told> {
        Some(&self.told).filter(|told| !told.is_nothing())
    }

    fn details(&self, note: &mut dyn FnMut(&'static str, Detail<'_>)) {
        if let Some(status) = self.status {
            note("http.response.status_code", Detail::Number(status.as_u16().into()));
        }
        match (self.error, self.status) {
            (Some(error), _) => note("error.type", Detail::Words(&error)),
            (None, Some(status)) if status.is_client_error() || status.is_server_error() => {
                note("error.type", Detail::Words(&status.as_str()));
            }
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, url: &str, attempt: u32, want: &[&str]) {
        let (method, url) = (method.parse().unwrap(), Url::parse(url).unwrap());
        let mut told = Vec::new();
        About { method: &method, url: &url, counted: 0 }
            .tell(attempt, |name, value| told.push(format!("{name}={value}")));
        assert_eq!(told, want);
    }

    #[test]
    fn what_is_told_of_an_attempt_holds_no_value_of_a_query() {
        check(
            "GET",
            "https://api.example.com/v1/items?api_key=SECRET&page=2&SECRET",
            1,
            &[
                "http.request.method=GET",
                "server.address=api.example.com",
                "server.port=443",
                "url.full=https://api.example.com/v1/items?api_key=REDACTED&page=REDACTED&REDACTED",
            ],
        );
        check(
            "BREW",
            "http://ann:SECRET@[::1]:8080/#SECRET",
            3,
            &[
                "http.request.method=_OTHER",
                "server.address=[::1]",
                "server.port=8080",
                "url.full=http://[::1]:8080/",
                "http.request.resend_count=2",
            ],
        );
    }
}
