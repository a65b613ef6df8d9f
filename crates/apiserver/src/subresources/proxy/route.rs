//! From the URL of a proxied request to that at its target, and back for what the target answers.

use std::io::Read as _;
use std::net::SocketAddr;

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, LOCATION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use skiff_registry::{ApiError, Call};

use super::html;
use crate::http::body::{self, Body};

/// The largest HTML page whose links are rewritten, in bytes, also unpacked.
const MAX_PAGE: usize = 8 * 1024 * 1024;

/// Where a proxied request goes and where it came from.
#[derive(Debug)]
pub(in crate::subresources) struct Route {
    /// Path and query at the target.
    pub(in crate::subresources) target: String,
    /// Whether the URL ends at `proxy`, without a slash.
    bare: bool,
    /// The path of our own URL up to `proxy`.
    prefix: String,
    query: String,
}

impl Route {
    /// The route of a request for the `proxy` that its parsed path names.
    pub(in crate::subresources) fn of(call: &Call, uri: &Uri) -> Self {
        Self::new(&call.path.tail, uri)
    }

    fn new(tail: &str, uri: &Uri) -> Self {
        let prefix = uri.path().strip_suffix(tail).unwrap_or_default().to_owned();
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = if tail.is_empty() { "/" } else { tail };
        Self { target: format!("{path}{query}"), bare: tail.is_empty(), prefix, query }
    }

    /// Links of a page are relative to its URL, which has to end with a slash for that.
    pub(in crate::subresources) fn redirect(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if !self.bare || !reads || request.headers().contains_key(UPGRADE) {
            return None;
        }
        let mut response = Response::new(body::full(Bytes::new()));
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        let location = HeaderValue::from_str(&format!("{}/{}", self.prefix, self.query)).ok()?;
        response.headers_mut().insert(LOCATION, location);
        Some(response)
    }

    /// Tells the target under which URL it was asked.
    pub(in crate::subresources) fn name_origin(&self, request: &mut Request<Body>) {
        let uri = HeaderValue::from_str(request.uri().path()).ok();
        let host = request.headers().get(HOST).cloned();
        let origin = [("x-forwarded-uri", uri), ("x-forwarded-host", host)];
        for (name, value) in origin {
            if let Some(value) = value {
                request.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
    }

    /// The target's answer as the client can use it: links and redirections lead through the proxy.
    pub(in crate::subresources) async fn answer(
        &self,
        mut response: Response<Body>,
        address: SocketAddr,
    ) -> Result<Response<Body>, ApiError> {
        let rewrite = |link: &str| self.rewrite(link, &address.to_string());
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        if let Some(location) = location.and_then(rewrite).and_then(|link| HeaderValue::from_str(&link).ok())
        {
            response.headers_mut().insert(LOCATION, location);
        }
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_page = media_type.is_some_and(|value| {
            value.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("text/html"))
        });
        if !is_page {
            return Ok(response);
        }
        let encoding = response.headers().get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        let Some(packing) = Packing::of(encoding) else { return Ok(response) };
        let (mut head, page) = response.into_parts();
        let page = Limited::new(page, MAX_PAGE).collect().await.map_err(|error| unreadable(&error))?;
        let page = packing.undo(page.to_bytes())?;
        head.headers.remove(CONTENT_ENCODING);
        head.headers.remove(CONTENT_LENGTH);
        Ok(Response::from_parts(head, body::full(html::rewrite_links(&page, rewrite))))
    }

    /// A link of the target's as one through the proxy; `None` for links to elsewhere and relative ones.
    fn rewrite(&self, link: &str, host: &str) -> Option<String> {
        let path = match link.strip_prefix("http://").or_else(|| link.strip_prefix("https://")) {
            Some(rest) => rest.strip_prefix(host).filter(|path| path.is_empty() || path.starts_with('/'))?,
            None => link.strip_prefix('/').filter(|rest| !rest.starts_with('/')).map(|_| link)?,
        };
        let is_ours =
            path.strip_prefix(&self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if is_ours {
            None
        } else {
            Some(format!("{}{}", self.prefix, if path.is_empty() { "/" } else { path }))
        }
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::Unavailable {
        message: format!("error trying to reach service: the page cannot be read: {error}"),
    }
}

/// How a page is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Deflate,
}

impl Packing {
    /// `None`: one that we do not know, whose pages pass as they are.
    fn of(encoding: Option<&str>) -> Option<Self> {
        match encoding {
            None | Some("identity" | "") => Some(Self::None),
            Some("gzip") => Some(Self::Gzip),
            Some("deflate") => Some(Self::Deflate),
            Some(_) => None,
        }
    }

    fn undo(self, packed: Bytes) -> Result<Bytes, ApiError> {
        let most = MAX_PAGE as u64 + 1;
        let mut page = Vec::new();
        let read = match self {
            Self::None => return Ok(packed),
            Self::Gzip => GzDecoder::new(&*packed).take(most).read_to_end(&mut page),
            Self::Deflate => ZlibDecoder::new(&*packed).take(most).read_to_end(&mut page),
        };
        match read {
            Ok(length) if length <= MAX_PAGE => Ok(page.into()),
            Ok(_) => Err(unreadable(&format_args!("it is larger than {MAX_PAGE} bytes"))),
            Err(error) => Err(unreadable(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const PREFIX: &str = "/api/v1/namespaces/services/services/s:80/proxy";

    fn route(tail: &str) -> Route {
        Route::new(tail, &format!("{PREFIX}{tail}?a=b").parse().unwrap())
    }

    #[test]
    fn targets_get_what_follows() {
        assert_eq!(route("").target, "/?a=b");
        assert_eq!(route("/").target, "/?a=b");
        assert_eq!(route("/services/x%2Fy//").target, "/services/x%2Fy//?a=b");
        assert_eq!(route("/x").prefix, PREFIX);
    }

    #[test]
    fn a_bare_proxy_leads_to_its_directory() {
        let request = Request::builder().body(body::full("")).unwrap();
        let redirect = route("").redirect(&request).unwrap();
        assert_eq!(redirect.headers()[LOCATION], format!("{PREFIX}/?a=b"));
        assert!(route("/").redirect(&request).is_none());
        let upgrade = Request::builder().header(UPGRADE, "websocket").body(body::full("")).unwrap();
        assert!(route("").redirect(&upgrade).is_none());
    }

    #[test]
    fn only_links_to_the_target_are_moved() {
        let check = |link: &str, expected: Option<&str>| {
            let expected = expected.map(|path| format!("{PREFIX}{path}"));
            assert_eq!(route("/x").rewrite(link, "10.0.0.1:80"), expected, "{link}");
        };
        check("/a/b?c", Some("/a/b?c"));
        check("http://10.0.0.1:80/a", Some("/a"));
        check("http://10.0.0.1:80", Some("/"));
        check("http://10.0.0.1:8080/a", None);
        check("http://example.com/a", None);
        check("//example.com/a", None);
        check("a/b", None);
        check("#top", None);
        check(&format!("{PREFIX}/a"), None);
    }

    #[tokio::test]
    async fn packed_pages_are_rewritten_and_sent_plain() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"<a href=/x>").unwrap();
        let mut response = Response::new(body::full(packed.finish().unwrap()));
        for (name, value) in
            [(CONTENT_TYPE, "Text/HTML; charset=utf-8"), (CONTENT_ENCODING, "gzip"), (LOCATION, "/y")]
        {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let answer = route("/").answer(response, "10.0.0.1:80".parse().unwrap()).await.unwrap();
        assert!(!answer.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(answer.headers()[LOCATION], format!("{PREFIX}/y"));
        let page = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(page, format!("<a href={PREFIX}/x>"));
    }

    #[test]
    fn pages_are_bounded_unpacked_too() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&vec![0; MAX_PAGE + 1]).unwrap();
        assert!(Packing::Gzip.undo(packed.finish().unwrap().into()).is_err());
        assert!(Packing::Deflate.undo(Bytes::from_static(b"not packed")).is_err());
        assert_eq!(Packing::of(Some("br")), None);
    }
}
