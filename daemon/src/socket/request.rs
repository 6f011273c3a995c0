//! What a client asks for, read strictly: this API and nothing around it. Every rule here narrows
//! what a proxy, a browser or a smuggler could make of a resource's socket.

use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, HOST};
use hyper::{Method, Request, StatusCode, Version};

use super::reply::{self, Reply};

/// Why a request is not answered: always the client's doing, and the end of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// Checks what holds for every request that only reads: as [`check_plain`], `GET`, and no body.
pub(crate) fn check_plain_get<B: Body>(request: &Request<B>) -> Result<(), Rejection> {
    if request.method() != Method::GET {
        return Err(Rejection::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "only GET is answered here",
        ));
    }
    check_plain(request)?;
    if request.headers().contains_key(CONTENT_LENGTH) && !request.body().is_end_stream() {
        return Err(Rejection::bad("a request here has no body"));
    }
    Ok(())
}

/// Checks what holds for every request: HTTP/1.1, origin form, one `Host`, a body of a length that was
/// given once, and no header that tells of a proxy, a browser or another protocol.
pub(crate) fn check_plain<B>(request: &Request<B>) -> Result<(), Rejection> {
    if request.version() != Version::HTTP_11 {
        return Err(Rejection::bad("only HTTP/1.1 is spoken here"));
    }
    if request.uri().scheme().is_some() || request.uri().authority().is_some() {
        return Err(Rejection::bad("the request target must be a path"));
    }
    // Two readers of one request must not come to two ends of it (RFC 9112, sections 3.2 and 6.3).
    if request.headers().get_all(HOST).iter().count() != 1 {
        return Err(Rejection::bad("a request here carries exactly one Host"));
    }
    if request.headers().get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Rejection::bad("a request here carries at most one Content-Length"));
    }
    for name in request.headers().keys() {
        check_header(name.as_str())?;
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

    /// The stable word for programs.
    pub(crate) fn code(&self) -> &'static str {
        self.code
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
fn check_header(name: &str) -> Result<(), Rejection> {
    match name {
        // Beside a length it is how two readers come to two ends; who sends here knows the length.
        "transfer-encoding" => {
            Err(Rejection::bad("a body here has a Content-Length and no Transfer-Encoding"))
        }
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
        let mut request = Request::get(uri).header("Host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).unwrap()
    }

    #[test]
    fn a_plain_get_passes() {
        let headers = [("If-None-Match", "\"x\""), ("Content-Length", "0")];
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
        let with_body = Request::get("/")
            .header("Host", "x")
            .header("Content-Length", "1")
            .body(Full::new(Bytes::from_static(b"x")));
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
    fn one_host_one_length_and_one_version_are_asked_for() {
        let none = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        assert!(check_plain_get(&none).is_err());
        assert!(check_plain_get(&get("/", &[("Host", "localhost")])).is_err());
        assert!(check_plain_get(&get("/", &[("Content-Length", "0"), ("Content-Length", "0")])).is_err());
        for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_2] {
            let mut other = get("/", &[]);
            *other.version_mut() = version;
            assert!(check_plain_get(&other).is_err(), "{version:?}");
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
