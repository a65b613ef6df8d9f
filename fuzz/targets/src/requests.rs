//! URLs of requests.

use crate::text;

pub(crate) fn run(url: &[u8]) {
    skiff_apiserver::fuzzing::url(text(url));
}
