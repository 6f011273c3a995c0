//! What a variable's metadata say about how it is delivered: the one member that means something to the
//! platform. Nothing else of them is judged here or anywhere.

use miosa_injector::model::{Deliver, DeliverError};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Judges metadata that are to be stored.
pub(crate) fn judge(metadata: &Value) -> Result<Deliver, DeliverError> {
    match metadata.get(MEMBER) {
        None => Ok(Deliver::Env),
        Some(said) => said.as_str().ok_or(DeliverError)?.parse(),
    }
}

/// Reads metadata that are stored. What says no delivery was stored before it was judged, and is
/// delivered as it was then.
pub(crate) fn stored(metadata: &RawValue) -> Deliver {
    #[derive(Default, Deserialize)]
    struct Metadata {
        #[serde(default)]
        deliver: Deliver,
    }
    serde_json::from_str::<Metadata>(metadata.get()).unwrap_or_default().deliver
}

const MEMBER: &str = "deliver";

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    #[test]
    fn what_is_judged_to_be_a_delivery_is_read_as_that_delivery() {
        for (metadata, expected) in [
            (json!({}), Deliver::Env),
            (json!({"note": {"deliver": "file"}}), Deliver::Env),
            (json!({"deliver": "env"}), Deliver::Env),
            (json!({"deliver": "file", "note": [1.5, {"a": null}]}), Deliver::File),
            (json!({"Deliver": 1, "deliver": "fd"}), Deliver::Fd),
        ] {
            assert_eq!(judge(&metadata), Ok(expected), "{metadata}");
            assert_eq!(stored(&to_raw_value(&metadata).unwrap()), expected, "{metadata}");
        }
    }

    #[test]
    fn what_is_no_delivery_is_refused_and_where_it_is_stored_already_means_env() {
        for said in
            [json!("File"), json!(""), json!("files"), json!(1), json!(null), json!(["file"]), json!({})]
        {
            let metadata = json!({ "deliver": said });
            assert_eq!(judge(&metadata), Err(DeliverError), "{metadata}");
            assert_eq!(stored(&to_raw_value(&metadata).unwrap()), Deliver::Env, "{metadata}");
        }
    }
}
