//! A browser: it keeps the cookies that it is given.

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, HeaderMap, SET_COOKIE};
use axum::http::{Method, Request, StatusCode};
use tower::ServiceExt as _;

/// The name that the layer gives the cookie.
pub(crate) const COOKIE_NAME: &str = "__Host-session";

#[derive(Clone)]
pub(crate) struct Browser {
    app: Router,
    /// The value of the cookie.
    pub(crate) cookie: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Page {
    /// The header that changes the cookie, if there is one.
    pub(crate) fn set_cookie(&self) -> Option<&str> {
        self.headers.get(SET_COOKIE).map(|header| header.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn assert_is(&self, text: &str) {
        assert_eq!((self.status, self.text.as_str()), (StatusCode::OK, text));
    }
}

impl Browser {
    pub(crate) fn of(app: &Router) -> Self {
        Self { app: app.clone(), cookie: None }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path).await
    }

    pub(crate) async fn post(&mut self, path: &str) -> Page {
        self.send(Method::POST, path).await
    }

    async fn send(&mut self, method: Method, path: &str) -> Page {
        let page = self.clone().answer(method, path).await;
        if let Some(header) = page.set_cookie() {
            let (pair, attributes) = header.split_once(';').unwrap();
            let (_, value) = pair.split_once('=').unwrap();
            self.cookie = (!attributes.contains("Max-Age=0")).then(|| value.to_owned());
        }
        page
    }

    async fn answer(self, method: Method, path: &str) -> Page {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(value) = &self.cookie {
            request = request.header(COOKIE, format!("other=1; {COOKIE_NAME}={value}"));
        }
        let response = self.app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        Page { status: parts.status, headers: parts.headers, text }
    }
}
