//! Style, scripts and the icon: embedded, addressed by their digest, kept by browsers for good.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rust_embed::RustEmbed;
use serde::Deserialize;

use super::Ctx;
use super::negotiate::{tagged, unchanged};
use super::problem::Fail;

#[derive(RustEmbed)]
#[folder = "../../ui-static"]
struct Files;

/// The files with their digests.
pub(super) struct Assets {
    digests: BTreeMap<String, String>,
}

impl Assets {
    pub(super) fn new() -> Self {
        let digests = Files::iter()
            .filter_map(|name| {
                let file = Files::get(&name)?;
                let digest = hex::encode(&file.metadata.sha256_hash()[..8]);
                Some((name.into_owned(), digest))
            })
            .collect();
        Self { digests }
    }

    /// The address of a file, with the digest that makes it immutable.
    pub(super) fn address(&self, name: &str) -> String {
        match self.digests.get(name) {
            Some(digest) => format!("/static/{name}?v={digest}"),
            None => format!("/static/{name}"),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Version {
    v: Option<String>,
}

/// `GET /static/FILE`.
pub(super) async fn file(
    State(desk): State<Ctx>,
    Path(name): Path<String>,
    Query(version): Query<Version>,
    headers: HeaderMap,
) -> Result<Response, Fail> {
    answer(&desk, &name, version.v.as_deref(), &headers)
}

/// `GET /favicon.svg`.
pub(super) async fn favicon(State(desk): State<Ctx>, headers: HeaderMap) -> Result<Response, Fail> {
    answer(&desk, "favicon.svg", None, &headers)
}

fn answer(
    desk: &Ctx,
    name: &str,
    version: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Fail> {
    let nothing = || Fail::of_status(StatusCode::NOT_FOUND);
    let digest = desk.assets.digests.get(name).ok_or_else(nothing)?;
    let etag = format!("\"{digest}\"");
    if let Some(response) = unchanged(headers, &etag) {
        return Ok(response);
    }
    let file = Files::get(name).ok_or_else(nothing)?;
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "image/svg+xml",
    };
    let body = ([(header::CONTENT_TYPE, kind)], file.data.into_owned()).into_response();
    let mut response = tagged(body, &etag);
    // The digest is in the address, so what stands there never changes.
    let keep = if version == Some(digest) {
        "public, max-age=31536000, immutable"
    } else {
        "public, no-cache"
    };
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    Ok(response)
}
