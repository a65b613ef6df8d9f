//! `logs`.

use futures::AsyncBufReadExt;
use http::Request;

use crate::api::Api;
use crate::args::LogsArgs;
use crate::error::{Error, Outcome};
use crate::verbs::with_query;

pub(crate) async fn run(api: &Api, args: &LogsArgs) -> Result<Outcome, Error> {
    let pod = args.pod.trim_start_matches("pod/").trim_start_matches("pods/");
    let flag = |on: bool| on.then_some("true");
    let (tail, since) = (args.tail.map(|n| n.to_string()), args.since_seconds.map(|n| n.to_string()));
    let path = with_query(
        &format!("/api/v1/namespaces/{}/pods/{pod}/log", api.namespace),
        &[
            ("container", args.container.as_deref()),
            ("follow", flag(args.follow)),
            ("previous", flag(args.previous)),
            ("timestamps", flag(args.timestamps)),
            ("tailLines", tail.as_deref()),
            ("sinceSeconds", since.as_deref()),
        ],
    );
    let request = Request::builder().uri(path).body(Vec::new());
    let request = request.map_err(|error| Error::Usage(error.to_string()))?;
    let mut text = std::pin::pin!(api.client.request_stream(request).await?);
    loop {
        let chunk = text.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(Outcome::Done);
        }
        let length = chunk.len();
        skiff_print::bytes(chunk)?;
        text.as_mut().consume_unpin(length);
    }
}
