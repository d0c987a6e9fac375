//! What a git host's answers mean: statuses, failures of the transport, and what a server says it can do.

use std::io::{self, ErrorKind};
use std::time::Duration;

use lockstep_app::app::RemoteUrl;
use reqwest::{Response, StatusCode, header};

use crate::account::Account;
use crate::error::{FetchError, Why};
use crate::packet::{Packet, decode, text};
use crate::refs::{BadListing, Refs};

/// One listing of refs. A repository with 200,000 refs sends some 14 MB.
const LARGEST_LISTING_BYTES: usize = 128 << 20;

/// What a remote told about itself, kept so that it is asked once.
#[derive(Clone, Debug)]
pub(crate) struct Speaks {
    pub(crate) protocol: Protocol,
    pub(crate) hash: gix::hash::Kind,
    /// The address that answers: the remote's, or the same with `.git` behind it.
    pub(crate) base: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Commands, one a request.
    V2 { unborn: bool, shallow: bool },
    /// Refs come with the capabilities; also what servers of protocol 1 are spoken to in.
    V0 { shallow: bool, sidebands: bool },
}

/// Reads the capabilities, and the refs when the server does not speak protocol 2.
pub(crate) fn greeting(
    account: &Account,
    base: String,
    answer: &[u8],
) -> Result<(Speaks, Option<Refs>), FetchError> {
    let not_git = || FetchError::NotGit {
        remote: account.remote.clone(),
    };
    let packets = decode(answer).map_err(|_| not_git())?;
    let mut lines = packets
        .iter()
        .filter_map(|packet| {
            if let Packet::Data(line) = packet {
                Some(line.as_ref())
            } else {
                None
            }
        })
        .filter(|line| !line.starts_with(b"# service="))
        .peekable();
    let first = lines.peek().copied().ok_or_else(not_git)?;
    if first.starts_with(b"ERR ") {
        return Err(account.unreachable(Why::ServerError));
    }
    if text(first) == Some("version 2") {
        let (mut hash, mut unborn, mut shallow) = (gix::hash::Kind::Sha1, false, false);
        for line in lines.filter_map(text) {
            let (name, values) = line.split_once('=').unwrap_or((line, ""));
            let has = |value| values.split(' ').any(|one| one == value);
            match name {
                "object-format" => hash = object_format(account, values)?,
                "ls-refs" => unborn = has("unborn"),
                "fetch" => shallow = has("shallow"),
                _ => {}
            }
        }
        return Ok((
            Speaks {
                protocol: Protocol::V2 { unborn, shallow },
                hash,
                base,
            },
            None,
        ));
    }
    // Protocol 1 only adds a line that says so.
    let mut lines = lines.skip_while(|line| text(line) == Some("version 1"));
    let first = lines.next().ok_or_else(not_git)?;
    let split = first
        .iter()
        .position(|byte| *byte == 0)
        .ok_or_else(not_git)?;
    let (first, capabilities) = first.split_at(split);
    let capabilities = text(capabilities.get(1..).unwrap_or_default()).ok_or_else(not_git)?;
    let (mut hash, mut head) = (gix::hash::Kind::Sha1, None);
    for capability in capabilities.split(' ') {
        if let Some(format) = capability.strip_prefix("object-format=") {
            hash = object_format(account, format)?;
        } else if let Some(target) = capability.strip_prefix("symref=HEAD:") {
            head = Some(target);
        }
    }
    let has = |value| capabilities.split(' ').any(|one| one == value);
    let protocol = Protocol::V0 {
        shallow: has("shallow"),
        sidebands: has("side-band-64k"),
    };
    let lines = std::iter::once(first)
        .chain(lines)
        .filter_map(text)
        .filter(|line| !line.starts_with("shallow "));
    let refs = Refs::from_advertisement(account.remote.clone(), head, lines)
        .map_err(|bad| bad_listing(account, &bad))?;
    Ok((
        Speaks {
            protocol,
            hash,
            base,
        },
        Some(refs),
    ))
}

fn object_format(account: &Account, name: &str) -> Result<gix::hash::Kind, FetchError> {
    name.parse().map_err(|_| FetchError::Unsupported {
        remote: account.remote.clone(),
        what: "stores objects under a hash that is neither SHA-1 nor SHA-256",
    })
}

/// A response with the status and the content type of git's protocol, or what its absence means.
pub(crate) fn accepted(
    account: &Account,
    response: Response,
    content_type: &str,
) -> Result<Response, FetchError> {
    let remote = account.remote.clone();
    let secret = account.secret.clone();
    let status = response.status();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let retry_after = header("retry-after")
        .and_then(|wait| wait.parse().ok())
        .map(Duration::from_secs);
    let exhausted = header("x-ratelimit-remaining") == Some("0");
    match status {
        StatusCode::OK => {
            if header("content-type").is_some_and(|is| is.starts_with(content_type)) {
                Ok(response)
            } else {
                Err(FetchError::NotGit { remote })
            }
        }
        StatusCode::TOO_MANY_REQUESTS => Err(FetchError::RateLimited {
            remote,
            retry_after,
        }),
        StatusCode::FORBIDDEN if exhausted || retry_after.is_some() => {
            Err(FetchError::RateLimited {
                remote,
                retry_after,
            })
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(FetchError::Refused {
            remote,
            secret,
            status: status.as_u16(),
        }),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(FetchError::NoSuchRepository { remote, secret })
        }
        _ if status.is_redirection() => Err(FetchError::Redirected {
            remote,
            to: redirect_target(&response),
        }),
        _ => Err(account.unreachable(Why::Status(status.as_u16()))),
    }
}

/// The repository that a redirect leads to, without user, query and what we had appended ourselves.
pub(crate) fn redirect_target(response: &Response) -> Option<RemoteUrl> {
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let mut to = response.url().join(location).ok()?;
    to.set_query(None);
    to.set_fragment(None);
    let to = to.as_str();
    let base = to
        .strip_suffix("/info/refs")
        .or_else(|| to.strip_suffix("/git-upload-pack"))
        .unwrap_or(to);
    base.parse().ok()
}

pub(crate) async fn body(account: &Account, mut response: Response) -> Result<Vec<u8>, FetchError> {
    let mut whole = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unreachable(account, error))?
    {
        if whole.len() + chunk.len() > LARGEST_LISTING_BYTES {
            return Err(bad_listing(account, &BadListing::TooMany));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

/// What the transport's error means; its text, which holds the address and may hold more, is left behind.
pub(crate) fn unreachable(account: &Account, error: reqwest::Error) -> FetchError {
    account.unreachable(cause(&error).unwrap_or(if error.is_timeout() {
        Why::Silent
    } else if error.is_connect() {
        Why::NoConnection
    } else {
        Why::BrokeOff
    }))
}

/// Looks for what is known by its type in a chain of errors.
fn cause(error: &(dyn std::error::Error + 'static)) -> Option<Why> {
    let mut next = Some(error);
    let mut why = None;
    while let Some(error) = next {
        next = error.source();
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(Why::Tls(tls.to_string()));
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            why = why.or(match io.kind() {
                ErrorKind::ConnectionRefused => Some(Why::ConnectionRefused),
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof => Some(Why::BrokeOff),
                ErrorKind::TimedOut => Some(Why::Silent),
                _ => None,
            });
            // The source of an error that wraps another is that one's source, so it would be passed over.
            if let Some(inner) = io.get_ref() {
                next = Some(inner);
            }
        }
    }
    why
}

pub(crate) fn bad_listing(account: &Account, bad: &BadListing) -> FetchError {
    match bad {
        BadListing::Malformed => {
            account.corrupt("its list of refs is not what the git protocol says")
        }
        BadListing::ServerError => account.unreachable(Why::ServerError),
        BadListing::TooMany => FetchError::TooLarge {
            remote: account.remote.clone(),
            what: "the list of refs",
            limit: format!("{LARGEST_LISTING_BYTES} bytes"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_found_however_deep_it_is_wrapped() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(ErrorKind::InvalidData, tls.clone()));
        assert_eq!(cause(&wrapped), Some(Why::Tls(tls.to_string())));
        let refused = io::Error::other(io::Error::from(ErrorKind::ConnectionRefused));
        assert_eq!(cause(&refused), Some(Why::ConnectionRefused));
        assert_eq!(cause(&io::Error::other("no known cause")), None);
    }
}
