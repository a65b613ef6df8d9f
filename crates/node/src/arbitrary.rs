//! What the agent reads from others (containers, users, the machine) never makes it panic, whatever it is.

use crate::files::resolv::{ClusterDns, resolv_conf};
use crate::logs::line::LogLine;
use crate::logs::query::{LogQuery, Renderer};
use crate::logs::tail::last_output;
use crate::pod::testing::pod_of;
use crate::quantity::{bytes, milli, units};
use crate::time::{go_duration, seconds, until};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use proptest::prelude::*;

/// Bytes that are close to a log record more often than not.
fn log_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"2026-01-01T00:00:00.123456789Z ".to_vec()),
        Just(b"stdout ".to_vec()),
        Just(b"stderr ".to_vec()),
        Just(b"F ".to_vec()),
        Just(b"P:x ".to_vec()),
        Just(b"\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn log_records(text in log_bytes(), limit in 0u64..100, since in any::<i32>(), timestamps: bool) {
        let query = LogQuery {
            timestamps,
            limit: Some(limit),
            since: Timestamp::from_second(since.into()).ok(),
            ..LogQuery::default()
        };
        let mut renderer = Renderer::new(&query);
        let mut output = Vec::new();
        for record in text.split_inclusive(|byte| *byte == b'\n') {
            if let Some(line) = LogLine::parse(record) {
                prop_assert!(!line.content.contains(&b'\n'));
            }
            renderer.render(record, &mut output);
        }
        prop_assert!(output.len() as u64 <= limit);
    }

    #[test]
    fn log_tails(text in log_bytes(), lines in 0usize..5, most in 0usize..50) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        // A character that is cut becomes one of three bytes.
        prop_assert!(last_output(file.path(), lines, most).unwrap().chars().count() <= most);
    }

    #[test]
    fn log_queries(key in "follow|tailLines|limitBytes|sinceSeconds|sinceTime|stream|x", value in "-?[0-9]{0,25}|\\PC{0,30}") {
        drop(LogQuery::parse([(key.as_str(), value.as_str())].into_iter(), Timestamp::now()));
    }

    #[test]
    fn quantities(text in "[+-]?[0-9.]{0,45}[a-zA-Z]{0,3}[+-]?[0-9]{0,12}|\\PC{0,20}", amount: u64) {
        let quantity = Quantity(text);
        let _either = (milli(&quantity), units(&quantity));
        let written = units(&bytes(amount));
        prop_assert_eq!(written, Some(i64::try_from(amount).unwrap_or(i64::MAX)));
    }

    #[test]
    fn resolvers(text in "((nameserver|search|domain|options|#|;)? ?[\\PC]{0,40}\n){0,12}", dots in "[.a-z:]{0,300}") {
        let dns = ClusterDns { address: [10, 96, 0, 10].into(), domain: "cluster.local" };
        for policy in ["ClusterFirst", "Default", "None"] {
            let spec = serde_json::json!({
                "containers": [], "dnsPolicy": policy,
                "dnsConfig": {"searches": [dots.clone()], "options": [{"name": dots.clone(), "value": ""}, {}]},
            });
            let conf = resolv_conf(&pod_of(&spec.to_string()), dns, &text);
            prop_assert!(conf.text.lines().filter(|line| line.starts_with("nameserver")).count() <= 3);
        }
    }

    #[test]
    fn times(value: i64, from: i64, to: i64) {
        drop(go_duration(seconds(value)));
        if let (Ok(from), Ok(to)) = (Timestamp::from_second(from), Timestamp::from_second(to)) {
            let _whatever = until(from, to);
        }
    }
}
