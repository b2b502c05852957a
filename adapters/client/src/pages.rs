use std::fmt;
use std::mem;

use futures_util::Stream;
use futures_util::stream::unfold;
use steadfast_core::event::Observer;
use steadfast_core::time::Timer;
use url::Url;

use crate::error::Error;
use crate::link;
use crate::request::RequestBuilder;
use crate::response::Response;
use crate::transport::Transport;

/// How many pages are fetched unless told otherwise.
const MAX_PAGES: usize = 1000;

/// The pages of a long list, one call after the other: from [`pages`](crate::RequestBuilder::pages) and
/// [`pages_by`](crate::RequestBuilder::pages_by).
///
/// ```
/// # use std::future::{Ready, ready};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use steadfast_client::{ApiClient, RequestBody, Transport, TransportError};
/// # use steadfast_core::time::ManualClock;
/// # #[derive(serde::Deserialize)]
/// # struct Item { name: String }
/// # #[derive(serde::Deserialize)]
/// # struct Page { items: Vec<Item>, cursor: Option<String> }
/// # struct Echo;
/// # impl Transport for Echo {
/// #     type Body = Full<Bytes>;
/// #     type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;
/// #     fn send(&self, request: Request<RequestBody>) -> Self::Sending {
/// #         let last = request.uri().query().is_some_and(|query| query.contains("cursor=2"));
/// #         let list = request.uri().path().ends_with("list");
/// #         let body = match (list, last) {
/// #             (true, _) => r#"[{"name": "lamp"}]"#,
/// #             (false, true) => r#"{"items": [{"name": "lamp"}]}"#,
/// #             (false, false) => r#"{"items": [], "cursor": "2"}"#,
/// #         };
/// #         ready(Ok(Response::new(Full::new(Bytes::from(body)))))
/// #     }
/// # }
/// # let (transport, clock) = (Echo, ManualClock::new());
/// # let client = ApiClient::builder("https://api.example.com/v1", transport, &clock).build()?;
/// # let call = async {
/// // The server links to the next page: `Link: </v1/list?page=2>; rel="next"`.
/// let mut pages = client.get("list").query("per_page", "100").pages();
/// while let Some(page) = pages.next().await {
///     for item in page?.json::<Vec<Item>>()? {
///         println!("{}", item.name);
///     }
/// }
///
/// // The server gives a cursor, which goes into a copy of the first request.
/// let mut pages = client.get("search").query("q", "lamp").pages_by(|page, first| {
///     let cursor = page.json::<Page>()?.cursor;
///     Ok(cursor.map(|cursor| first.query("cursor", &cursor)))
/// });
/// # let mut found = 0;
/// while let Some(page) = pages.next().await {
///     for item in page?.json::<Page>()?.items {
///         println!("{}", item.name);
/// #       found += 1;
///     }
/// }
/// # assert_eq!(found, 1);
/// # Ok::<(), steadfast_client::Error>(())
/// # };
/// # clock.drive(call).expect("it ends")?;
/// # Ok::<(), steadfast_client::Error>(())
/// ```
///
/// | Setting | Default | Why |
/// | --- | --- | --- |
/// | `max_pages` | 1,000 | a server whose last page links to its first must not keep us for ever |
///
/// Each page is a call of its own, through the whole pipeline and with its own deadline, and is fetched when it is asked for.
/// A link that leads to another origin is refused: what the client shows to this one is for nobody else. So is any link on a
/// page that came from another, by a redirect: what that says is nothing to use our credentials for.
///
/// # When not to use it
///
/// Where pages can be asked for by number: fetch several at once, under the limits of the client.
#[must_use = "nothing is sent before somebody asks for the next page"]
pub struct Pages<'a, T, C, O, F> {
    /// The request of the first page: what those of the others are made of.
    first: RequestBuilder<'a, T, C, O>,
    next: Next<'a, T, C, O>,
    find: F,
    max_pages: usize,
    fetched: usize,
}

enum Next<'a, T, C, O> {
    Page(Box<RequestBuilder<'a, T, C, O>>),
    /// There is more, and it cannot be fetched.
    Refused(Error),
    Ended,
}

/// The request for the next page, if there is one.
pub(crate) type Found<'a, T, C, O> = Result<Option<RequestBuilder<'a, T, C, O>>, Error>;

/// The page behind this one, where the server links to it: seen from the URL of this one.
pub(crate) fn by_link<'a, T, C, O>(
    page: &Response,
    url: &Url,
    first: RequestBuilder<'a, T, C, O>,
) -> Found<'a, T, C, O> {
    Ok(link::next(page.headers()).map(|link| first.linked(url, link)))
}

impl<'a, T, C, O, F> Pages<'a, T, C, O, F>
where
    T: Transport,
    C: Timer,
    O: Observer,
    F: FnMut(&Response, &Url, RequestBuilder<'a, T, C, O>) -> Found<'a, T, C, O>,
{
    pub(crate) fn new(mut first: RequestBuilder<'a, T, C, O>, find: F) -> Self {
        let next = match first.again() {
            Some(request) => Next::Page(Box::new(request)),
            None => Next::Refused(first.take_refusal()),
        };
        Self { first, next, find, max_pages: MAX_PAGES, fetched: 0 }
    }

    /// How many pages are fetched; if there are more, that is an error behind the last. Default: 1,000.
    pub fn max_pages(self, pages: usize) -> Self {
        Self { max_pages: pages, ..self }
    }

    /// The next page; `None` behind the last.
    ///
    /// Cancel safe: dropped, it fetches the same page the next time.
    ///
    /// # Errors
    /// - What [`send`](RequestBuilder::send) returns. If it may pass ([`Error::is_retryable`]), whoever asks again has
    ///   the same page fetched again; otherwise that was the end.
    /// - [`Error::InvalidRequest`], if the link to the next page leads to another origin, or nowhere.
    /// - [`Error::TooManyPages`], if there are more than `max_pages`.
    #[allow(clippy::should_implement_trait)] // It is what a stream's is called, too.
    pub async fn next(&mut self) -> Option<Result<Response, Error>> {
        let request = match mem::replace(&mut self.next, Next::Ended) {
            Next::Page(request) => request,
            Next::Refused(error) => return Some(Err(error)),
            Next::Ended => return None,
        };
        // There is always another of what was sent once; without, `send` says what is wrong with it.
        let (again, url) = (request.again(), request.url().cloned());
        self.next = again.map_or(Next::Ended, |again| Next::Page(Box::new(again)));
        let page = match request.send().await {
            Ok(page) => page,
            Err(error) => {
                if !error.is_retryable() {
                    self.next = Next::Ended;
                }
                return Some(Err(error));
            }
        };
        self.fetched = self.fetched.saturating_add(1);
        // After redirects, links are seen from where those have led.
        let url = page.url.clone().or(url);
        let found = match (self.first.again(), url) {
            (Some(first), Some(url)) => (self.find)(&page, &url, first),
            (None, _) | (_, None) => Ok(None),
        };
        self.next = match found {
            Ok(Some(_)) if self.fetched >= self.max_pages => Next::Refused(Error::TooManyPages(page.failure())),
            Ok(Some(request)) => Next::Page(Box::new(request)),
            Ok(None) => Next::Ended,
            Err(error) => Next::Refused(error),
        };
        Some(Ok(page))
    }

    /// The same pages as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<Response, Error>> + use<'a, T, C, O, F> {
        unfold(self, |mut pages| async move {
            let next = pages.next().await?;
            Some((next, pages))
        })
    }
}

/// Shows no header, no query and no body: secrets may be in each.
impl<T, C, O, F> fmt::Debug for Pages<'_, T, C, O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("first", &self.first)
            .field("fetched", &self.fetched)
            .field("max_pages", &self.max_pages)
            .finish_non_exhaustive()
    }
}
