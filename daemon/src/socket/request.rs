//! What a client asks for, read strictly: this API and nothing around it. Every rule here narrows
//! what a proxy, a browser or a smuggler could make of a resource's socket.

use hyper::body::Body;
use hyper::{Method, Request, StatusCode};

use super::reply::{self, Reply};

/// Why a request is not answered: always the client's doing, and the end of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// Checks what holds for every request that only reads: `GET`, origin form, no body, and no header
/// that tells of a proxy, a browser or another protocol.
pub(crate) fn check_plain_get<B: Body>(request: &Request<B>) -> Result<(), Rejection> {
    if request.method() != Method::GET {
        return Err(Rejection::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "only GET is answered here",
        ));
    }
    if request.uri().scheme().is_some() || request.uri().authority().is_some() {
        return Err(Rejection::bad("the request target must be a path"));
    }
    for name in request.headers().keys() {
        check_header(name.as_str(), request.body())?;
    }
    Ok(())
}

/// The values of the query's parameters, in the order of `names`. Unknown and repeated parameters are
/// refused; an empty value counts as none given. Values of this API need no percent-encoding.
pub(crate) fn query<const N: usize>(
    query: Option<&str>,
    names: [&'static str; N],
) -> Result<[Option<String>; N], Rejection> {
    let mut values = [const { None }; N];
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = names.iter().zip(&mut values).find(|(known, _)| **known == name);
        let Some((_, place)) = place else {
            return Err(Rejection::bad(format!("unknown query parameter {}", name.escape_debug())));
        };
        if place.replace(value.to_owned()).is_some() {
            return Err(Rejection::bad(format!("query parameter {name} given twice")));
        }
    }
    Ok(values.map(|value| value.filter(|value| !value.is_empty())))
}

impl Rejection {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// A request that does not keep to the protocol.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    fn header(name: &str) -> Self {
        Self::bad(format!("a request here must not carry the header {name}"))
    }

    /// A path that is not there.
    pub(crate) fn unknown_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
    }
}

impl From<Rejection> for Reply {
    fn from(rejection: Rejection) -> Self {
        reply::refuse(rejection.status, rejection.code, rejection.message)
    }
}

/// Having the socket is the identity, so a request that somebody passes on for somebody else is
/// refused: it would be answered with the secrets of whoever holds the socket.
fn check_header(name: &str, body: &impl Body) -> Result<(), Rejection> {
    match name {
        "content-length" if body.is_end_stream() => Ok(()),
        "content-length" | "transfer-encoding" => Err(Rejection::bad("a request here has no body")),
        "forwarded" | "via" | "origin" | "upgrade" | "expect" => Err(Rejection::header(name)),
        name if name.starts_with("x-forwarded-") => Err(Rejection::header(name)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{Empty, Full};

    use super::*;

    fn get(uri: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).unwrap()
    }

    #[test]
    fn a_plain_get_passes() {
        let headers = [("Host", "localhost"), ("If-None-Match", "\"x\""), ("Content-Length", "0")];
        assert_eq!(check_plain_get(&get("/v1/resolve?run=r", &headers)), Ok(()));
    }

    #[test]
    fn headers_of_proxies_and_browsers_are_refused() {
        for name in ["Forwarded", "X-Forwarded-For", "x-forwarded-host", "Via", "Origin", "Upgrade", "Expect"]
        {
            let rejection = check_plain_get(&get("/v1/resolve", &[(name, "x")])).unwrap_err();
            assert_eq!(rejection.status, StatusCode::BAD_REQUEST, "{name}");
        }
    }

    #[test]
    fn bodies_other_methods_and_absolute_targets_are_refused() {
        let with_body =
            Request::get("/").header("Content-Length", "1").body(Full::new(Bytes::from_static(b"x")));
        assert!(check_plain_get(&with_body.unwrap()).is_err());
        assert!(check_plain_get(&get("/", &[("Transfer-Encoding", "chunked")])).is_err());
        assert!(check_plain_get(&get("http://other/v1/resolve", &[])).is_err());
        for method in ["HEAD", "POST", "OPTIONS", "CONNECT", "TRACE", "get"] {
            let request = Request::builder().method(method).uri("/").body(Empty::<Bytes>::new()).unwrap();
            assert_eq!(
                check_plain_get(&request).unwrap_err().status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method}"
            );
        }
    }

    #[test]
    fn queries_are_read_strictly() {
        let run = |text| query(Some(text), ["run"]).map(|[run]| run);
        assert_eq!(query(None, ["run"]), Ok([None]));
        assert_eq!(run(""), Ok(None));
        assert_eq!(run("run="), Ok(None));
        assert_eq!(run("run=run_1"), Ok(Some("run_1".to_owned())));
        for bad in ["sandbox=other", "run=a&run=b", "run=a&run=", "RUN=a", "=a", "run=a&x"] {
            assert!(run(bad).is_err(), "{bad}");
        }
        assert_eq!(query(Some("b=2&a=1"), ["a", "b"]), Ok([Some("1".into()), Some("2".into())]));
    }
}
