use http::HeaderMap;
use http::header::LINK;

/// The first target in `Link` fields that is the next in the series (RFC 8288 §3, with the parser of its appendix B.2).
///
/// A link that names another context by `anchor` says nothing of this response (§3.2), and of a `rel` that is there twice
/// the first counts (§3.3). What cannot be read ends the field: nobody guesses where the next link begins.
pub(crate) fn next(headers: &HeaderMap) -> Option<&str> {
    let fields = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|field| Links { rest: field }).find(|link| link.is_next).map(|link| link.target)
}

struct Link<'a> {
    target: &'a str,
    is_next: bool,
}

struct Links<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Links<'a> {
    type Item = Link<'a>;

    fn next(&mut self) -> Option<Link<'a>> {
        let rest = self.rest.trim_start_matches([' ', '\t', ',']);
        let (target, mut rest) = rest.strip_prefix('<')?.split_once('>')?;
        let (mut rel, mut has_anchor) = (None, false);
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            let Some(parameter) = rest.strip_prefix(';') else { break };
            let parameter = parameter.trim_start_matches([' ', '\t']);
            let end = parameter.find([' ', '\t', '=', ';', ',']).unwrap_or(parameter.len());
            let (name, after) = parameter.split_at(end);
            let after = after.trim_start_matches([' ', '\t']);
            let value;
            (value, rest) = match after.strip_prefix('=') {
                Some(after) => value_of(after.trim_start_matches([' ', '\t'])),
                None => ("", after),
            };
            has_anchor |= name.eq_ignore_ascii_case("anchor");
            if name.eq_ignore_ascii_case("rel") && rel.is_none() {
                rel = Some(value);
            }
        }
        // Behind a link comes a comma or the end. Behind anything else, nothing can be trusted.
        self.rest = if rest.starts_with(',') { rest } else { "" };
        let is_next = rel.unwrap_or_default().split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"));
        Some(Link { target: target.trim(), is_next: is_next && !has_anchor })
    }
}

/// A parameter's value, a token or a quoted string, and what follows it. Escapes stay: no relation type has one.
fn value_of(text: &str) -> (&str, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        return text.split_at(text.find([' ', '\t', ';', ',']).unwrap_or(text.len()));
    };
    let mut escaped = false;
    let end = quoted.find(|character| {
        let ends = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    });
    match end.and_then(|end| quoted.split_at_checked(end)) {
        Some((value, rest)) => (value, rest.strip_prefix('"').unwrap_or(rest)),
        None => (quoted, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next page by these fields.
    fn check(fields: &[&str], want: Option<&str>) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(LINK, field.parse().expect("a field that can be"));
        }
        assert_eq!(next(&headers), want, "{fields:?}");
    }

    #[test]
    fn the_next_link_is_found_where_there_is_one() {
        for (field, want) in [
            ("<https://a.example/?page=2>; rel=\"next\"", Some("https://a.example/?page=2")),
            ("</b>; rel=next", Some("/b")),
            ("</b>;rel=next", Some("/b")),
            ("</b> ; REL = \"Next\"", Some("/b")),
            ("</b>; rel=\"last next\"", Some("/b")),
            ("</b>; title=\"a, <c>; rel=x\"; rel=next", Some("/b")),
            ("</b>; title=\"a \\\" ; rel=prev\"; rel=next", Some("/b")),
            ("</b>; title; rel=next", Some("/b")),
            ("<>; rel=next", Some("")),
            ("</a>; rel=prev, </b>; rel=next, </c>; rel=next", Some("/b")),
            ("</a,b;c>; rel=next", Some("/a,b;c")),
            (", ,</b>; rel=next", Some("/b")),
            ("</b>; rel=nexto", None),
            ("</b>; rel=\"http://example.com/next\"", None),
            ("</b>; rel=prev; rel=next", None),
            ("</b>; rev=next", None),
            ("</b>; rel=next; anchor=\"#x\"", None),
            ("</b>; rel", None),
            ("</b>", None),
            ("/b; rel=next", None),
            ("</b; rel=next", None),
            ("</a>; title=\"open, </b>; rel=next", None),
            ("</a> garbage, </b>; rel=next", None),
            ("", None),
            ("<", None),
            ("</b>;", None),
            ("</b>; rel=", None),
            ("</b>; rel=\"", None),
            ("</b>; rel=\"\\", None),
        ] {
            check(&[field], want);
        }
        check(&["</a>; rel=prev", "</b>; rel=next"], Some("/b"));
        check(&["garbage", "</b>; rel=next"], Some("/b"));
        check(&[], None);
    }

    #[test]
    fn whatever_a_field_holds_it_is_read_to_its_end() {
        const SIGNS: [char; 10] = ['<', '>', ';', ',', '"', '\\', '=', ' ', 'r', 'é'];
        let mut state = 7_u64;
        for _ in 0..20_000 {
            let text: String = (0..12)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    SIGNS[usize::try_from(state >> 33).expect("31 bits") % SIGNS.len()]
                })
                .collect();
            let links = Links { rest: &text }.take(100).count();
            assert!(links <= 4, "{text}: {links}");
        }
    }
}
