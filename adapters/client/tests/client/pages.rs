//! The pages of long lists: by link and by cursor, each a call of its own.

use futures_util::TryStreamExt;
use steadfast_client::Redirects;

use super::*;

const TO_2: (&str, &str) = ("link", "</v1/items?page=2>; rel=\"next\", </v1/items?page=9>; rel=\"last\"");

fn urls(script: &Script) -> Vec<String> {
    script.seen().into_iter().map(|seen| seen.uri.replace("https://api.example.com", "")).collect()
}

#[test]
fn pages_are_followed_by_their_links_and_no_further() {
    let to =
        |link: &'static str| [Answers(200, &[TO_2], "1"), Answers(200, Box::leak(Box::new([("link", link)])), "2")];
    for (script, want) in [
        (&[Answers(200, &[], "1")][..], &["/v1/items?size=2"][..]),
        (&[Answers(200, &[TO_2], "1"), Answers(200, &[], "2")], &["/v1/items?size=2", "/v1/items?page=2"]),
        // Links are seen from the page that they are on.
        (&to("<?page=3>; rel=next"), &["/v1/items?size=2", "/v1/items?page=2", "/v1/items?page=3"]),
        (&to("<more>; rel=next"), &["/v1/items?size=2", "/v1/items?page=2", "/v1/more"]),
        (&to("<https://api.example.com/x>; rel=next"), &["/v1/items?size=2", "/v1/items?page=2", "/x"]),
        (&to("<?page=3>; rel=prev"), &["/v1/items?size=2", "/v1/items?page=2"]),
        // Each page is a call of its own.
        (
            &[Answers(503, &[], ""), Answers(200, &[TO_2], "1"), Resets],
            &["/v1/items?size=2", "/v1/items?size=2", "/v1/items?page=2", "/v1/items?page=2"],
        ),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(script));
        let client = builder(&clock, &script).build().unwrap();
        let pages = client.get("items").query("size", "2").header("x-team", "lamps").pages().into_stream();
        let pages: Vec<_> = clock.drive(pages.try_collect()).unwrap().unwrap();
        assert!(!pages.is_empty() && script.open() == 0);
        assert_eq!(urls(&script), want);
    }
}

#[test]
fn a_link_is_seen_from_where_redirects_have_led() {
    const MORE: &[(&str, &str)] = &[("link", "<?page=2>; rel=next")];
    let script = [Answers(307, &[("location", "/v2/items?all")], ""), Answers(200, MORE, "1"), Answers(200, &[], "2")];
    let (clock, script) = (ManualClock::new(), Script::new(&script));
    let client = builder(&clock, &script).redirects(Redirects::same_origin()).build().unwrap();
    let pages: Vec<_> = clock.drive(client.get("items").pages().into_stream().try_collect()).unwrap().unwrap();
    assert_eq!(
        (pages.len(), urls(&script)),
        (2, ["/v1/items", "/v2/items?all", "/v2/items?page=2"].map(str::to_owned).into())
    );
}

#[test]
fn a_page_of_another_origin_sends_nobody_home_with_our_credentials() {
    const HOME: &[(&str, &str)] = &[("link", "<https://api.example.com/v1/all?delete>; rel=next")];
    let script = [Answers(302, &[("location", "https://cdn.example.net/1")], ""), Answers(200, HOME, "1")];
    let (clock, script) = (ManualClock::new(), Script::new(&script));
    let client = builder(&clock, &script).redirects(Redirects::any_origin()).auth(Auth::bearer("t0ken").unwrap());
    let client = client.build().unwrap();
    let mut pages = client.get("items").pages();
    assert!(clock.drive(pages.next()).unwrap().unwrap().is_ok());
    let error = clock.drive(pages.next()).unwrap().unwrap().unwrap_err();
    assert!(matches!(error, Error::InvalidRequest { field: "url", .. }), "{error}");
    assert_eq!(script.seen().len(), 2);
}

#[test]
fn a_key_in_the_query_is_there_once_though_the_server_repeats_it() {
    const MORE: &[(&str, &str)] = &[("link", "<?page=2&key=SECRET>; rel=next")];
    const BLACKED_OUT: &[(&str, &str)] = &[("link", "<?key=***&page=3>; rel=next")];
    let script = [Answers(200, MORE, "1"), Answers(200, BLACKED_OUT, "2"), Answers(200, &[], "3")];
    let (clock, script) = (ManualClock::new(), Script::new(&script));
    let client = builder(&clock, &script).auth(Auth::api_key_in_query("key", "SECRET")).build().unwrap();
    let pages: Vec<_> = clock.drive(client.get("items").pages().into_stream().try_collect()).unwrap().unwrap();
    let want = ["", "page=2&", "page=3&"].map(|page| format!("/v1/items?{page}key=SECRET"));
    assert_eq!((pages.len(), urls(&script)), (3, want.into()));
    // Where the caller has it from a body, or has another, it goes before.
    clock.drive(client.get("https://api.example.com/v1/items?key=other&page=4").send()).unwrap().unwrap();
    assert_eq!(urls(&script), ["/v1/items?key=other&page=4"]);
}

#[test]
fn a_cursor_goes_into_a_copy_of_the_first_request() {
    let script = [Answers(200, &[], "[1,7]"), Answers(200, &[], "[2,8]"), Answers(200, &[], "[3,null]")];
    let (clock, script) = (ManualClock::new(), Script::new(&script));
    let client = builder(&clock, &script).build().unwrap();
    let mut pages = client.get("items").query("q", "x").header("x-team", "lamps").pages_by(|page, first| {
        let (_, cursor): (u32, Option<u32>) = page.json()?;
        Ok(cursor.map(|cursor| first.query("cursor", &cursor.to_string())))
    });
    for want in 1..=3 {
        let page = clock.drive(pages.next()).unwrap().unwrap().unwrap();
        assert_eq!(page.json::<(u32, Option<u32>)>().unwrap().0, want);
    }
    assert!(clock.drive(pages.next()).unwrap().is_none());
    let seen = script.seen();
    assert!(seen.iter().all(|seen| seen.headers["x-team"] == "lamps"));
    let queries: Vec<_> = seen.iter().map(|seen| seen.uri.split_once('?').unwrap().1).collect();
    assert_eq!(queries, ["q=x", "q=x&cursor=7", "q=x&cursor=8"]);
}

#[test]
fn what_keeps_pages_from_going_on_is_said_behind_the_last() {
    let elsewhere = &[("link", "<https://elsewhere.example.com/?key=SECRET>; rel=next")];
    let plain = &[("link", "<http://api.example.com/>; rel=next")];
    let somebody = &[("link", "<https://me:SECRET@api.example.com/>; rel=next")];
    let nowhere = &[("link", "<https://>; rel=next")];
    type Is = fn(&Error) -> bool;
    let table: [(&[Does], usize, Is); 6] = [
        (&[Answers(200, elsewhere, "")], 1, |error| matches!(error, Error::InvalidRequest { field: "url", .. })),
        (&[Answers(200, plain, "")], 1, |error| matches!(error, Error::InvalidRequest { field: "url", .. })),
        (&[Answers(200, somebody, "")], 1, |error| matches!(error, Error::InvalidRequest { field: "url", .. })),
        (&[Answers(200, nowhere, "")], 1, |error| matches!(error, Error::InvalidRequest { field: "url", .. })),
        // A list that leads back into itself.
        (&[Answers(200, &[TO_2], ""); 9], 4, |error| matches!(error, Error::TooManyPages(_))),
        (&[Answers(200, &[TO_2], ""), Answers(404, &[], "")], 1, |error| matches!(error, Error::NotFound(_))),
    ];
    for (script, fetched, is) in table {
        let (clock, script) = (ManualClock::new(), Script::new(script));
        let client = builder(&clock, &script).build().unwrap();
        let mut pages = client.get("items").pages().max_pages(4);
        for _ in 0..fetched {
            clock.drive(pages.next()).unwrap().unwrap().unwrap();
        }
        let error = clock.drive(pages.next()).unwrap().unwrap().unwrap_err();
        assert!(is(&error) && !format!("{error} {error:?} {pages:?}").contains("SECRET"), "{error:?}");
        assert!(clock.drive(pages.next()).unwrap().is_none());
        assert!(urls(&script).iter().all(|url| url.starts_with("/v1/items")));
    }
    let (clock, script) = (ManualClock::new(), Script::new(&[Answers(200, &[], "no JSON")]));
    let client = builder(&clock, &script).build().unwrap();
    let mut pages = client.get("items").pages_by(|page, first| {
        page.json::<u32>()?;
        Ok(Some(first))
    });
    assert!(clock.drive(pages.next()).unwrap().unwrap().is_ok());
    assert!(matches!(clock.drive(pages.next()).unwrap(), Some(Err(Error::Decode { .. }))));
    assert!(clock.drive(pages.next()).unwrap().is_none());
}

#[test]
fn a_page_that_may_yet_come_is_fetched_again_by_whoever_asks_again() {
    let script = [Answers(200, &[TO_2], "1"), IsDown, IsDown, IsDown, Hangs, Answers(200, &[], "2")];
    let (clock, script) = (ManualClock::new(), Script::new(&script));
    let client = builder(&clock, &script).build().unwrap();
    let mut pages = client.get("items").pages();
    assert!(clock.drive(pages.next()).unwrap().unwrap().is_ok());
    assert!(matches!(clock.drive(pages.next()).unwrap(), Some(Err(Error::Connection { .. }))));
    // Dropped where it stands, it has lost nothing either.
    {
        let mut next = pin!(pages.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    clock.advance(ms(1000));
    let last = clock.drive(pages.next()).unwrap();
    assert!(last.is_some_and(|page| page.is_ok()));
    assert!(clock.drive(pages.next()).unwrap().is_none());
    assert_eq!(script.open(), 0);
}

#[test]
fn pages_of_a_request_that_cannot_be_sent_again_are_refused() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).build().unwrap();
    let stream = RequestBody::stream(futures_util::stream::empty::<Result<bytes::Bytes, BoxError>>());
    let mut pages = client.post("search").body(stream).pages();
    let error = clock.drive(pages.next()).unwrap().unwrap().unwrap_err();
    assert!(error.to_string().starts_with("invalid request: body is \"a stream\""), "{error}");
    assert!(clock.drive(pages.next()).unwrap().is_none() && script.seen().is_empty());
}
