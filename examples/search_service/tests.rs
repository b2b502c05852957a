//! The service against its stub.

use futures_util::future::join_all;

use crate::service::{SearchError, SearchService};
use crate::stub::{KEY, Plan, Stub};

const AMPLE: Plan = Plan { per_second: 1_000, per_month: 1_000_000 };

fn search(stub: &Stub, key: &str, plan: Plan) -> SearchService {
    SearchService::new(&stub.base_url(), key, plan.per_second).expect("settings that can be")
}

#[tokio::test]
async fn what_is_found_comes_page_by_page() {
    let stub = Stub::start(AMPLE).expect("a free port");
    let search = search(&stub, KEY, AMPLE);
    for (page, want, has_more) in [(0, 20, true), (1, 20, true), (2, 10, false), (3, 0, false)] {
        let found = search.web("a & b", page).await.expect("an answer");
        assert_eq!((found.results.len(), found.has_more), (want, has_more), "page {page}");
        let first = found.results.first().map(|hit| (hit.title.clone(), hit.url.clone()));
        let number = page * SearchService::PAGE;
        let expected = (want > 0).then(|| (format!("a & b, page {number}"), format!("https://example.com/{number}")));
        assert_eq!(first, expected);
    }
}

#[tokio::test]
async fn many_searches_at_once_meet_no_refusal() {
    let plan = Plan { per_second: 100, ..AMPLE };
    let stub = Stub::start(plan).expect("a free port");
    let search = search(&stub, KEY, plan);
    let pages = join_all((0..150).map(|number| search.web(if number % 2 == 0 { "even" } else { "odd" }, 0))).await;
    assert!(pages.iter().all(Result::is_ok), "{:?}", pages.iter().find(|page| page.is_err()));
    assert_eq!((stub.seen().answered, stub.seen().limited), (150, 0));
}

#[tokio::test]
async fn once_the_month_is_spent_nothing_is_sent() {
    let plan = Plan { per_month: 3, ..AMPLE };
    let stub = Stub::start(plan).expect("a free port");
    let search = search(&stub, KEY, plan);
    stub.spend(2);
    search.web("the last", 0).await.expect("it is there");
    for _ in 0..3 {
        let error = search.web("one more", 0).await.expect_err("nothing is left");
        assert!(matches!(error, SearchError::Call(steadfast::Error::RateLimited(_))), "{error:?}");
    }
    assert_eq!((stub.seen().answered, stub.seen().limited), (1, 0));
}

#[tokio::test]
async fn what_others_use_of_the_key_is_waited_for() {
    let plan = Plan { per_second: 20, ..AMPLE };
    let stub = Stub::start(plan).expect("a free port");
    let search = search(&stub, KEY, plan);
    stub.spend(20);
    search.web("patience", 0).await.expect("the next second has room");
    assert_eq!(stub.seen().answered, 1);
}

#[tokio::test]
async fn a_failure_is_retried() {
    let stub = Stub::failing(AMPLE, Some(3)).expect("a free port");
    let search = search(&stub, KEY, AMPLE);
    for _ in 0..6 {
        search.web("again", 0).await.expect("the second attempt is answered");
    }
    assert_eq!((stub.seen().answered, stub.seen().failed), (6, 2));
}

#[tokio::test]
async fn the_apis_own_words_are_in_its_errors() {
    let stub = Stub::start(AMPLE).expect("a free port");
    let search = search(&stub, KEY, AMPLE);
    for (query, page) in [("", 0), ("too far", 10)] {
        let error = search.web(query, page).await.expect_err("it cannot be");
        assert_eq!(error.to_string(), "422 VALIDATION: Unable to validate request parameter(s).");
    }
    let elsewhere = SearchService::new(&format!("{}/elsewhere", stub.base_url()), KEY, 100).expect("it can be");
    let error = elsewhere.web("lost", 0).await.expect_err("there is nothing");
    assert!(matches!(error, SearchError::Api { status: 404, .. }), "{error:?}");
}

#[tokio::test]
async fn no_key_is_in_any_output() {
    let stub = Stub::start(AMPLE).expect("a free port");
    let wrong = "BSA-wrong-0123456789";
    let (search, good) = (search(&stub, wrong, AMPLE), search(&stub, KEY, AMPLE));
    let error = search.web("lamp", 0).await.expect_err("the key is wrong");
    assert!(matches!(error, SearchError::NotAuthorised));
    let refused = good.web("", 0).await.expect_err("it cannot be");
    let nobody = SearchService::new("http://127.0.0.1:1/res/v1", KEY, 100).expect("it can be");
    let unreachable = nobody.web("lamp", 0).await.expect_err("nobody is there");
    for shown in [
        format!("{error} {error:?}"),
        format!("{refused} {refused:?}"),
        format!("{unreachable} {unreachable:?}"),
        format!("{search:?} {good:?}"),
    ] {
        for key in [KEY, wrong] {
            assert!(!shown.contains(key), "{key} is in {shown}");
        }
    }
}
