//! Base64 in its one strict form: RFC 4648 §4 (standard alphabet, padded), no white space, no stray
//! bits in the last character, padding at the very end only.

use data_encoding::{BASE64, BASE64_NOPAD};

pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

pub(crate) fn encode_append(bytes: &[u8], text: &mut String) {
    BASE64.encode_append(bytes, text);
}

pub(crate) fn encoded_len(bytes: usize) -> usize {
    BASE64.encode_len(bytes)
}

pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    // The padded decoder of this library also takes padding in the middle, as of texts put one
    // after the other, which would be a second spelling of the same bytes. Without its padding a
    // text of the right length has only one.
    let unpadded = text.strip_suffix(b"=").unwrap_or(text);
    let unpadded = unpadded.strip_suffix(b"=").unwrap_or(unpadded);
    BASE64_NOPAD.decode(unpadded).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_rfc_4648_are_met() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let padding =
            ["=", "==", "===", "====", "Zg", "Zg=", "Zg===", "Zm8", "Zm8==", "Zm9v====", "Z===", "Zg==Zm9v"];
        let bits = ["Zh==", "Zm9="];
        let characters = ["Zm9v\n", "Zm 9", " Zm9", "Z_9v", "Z-9v", "Z\0=="];
        for bad in padding.into_iter().chain(bits).chain(characters) {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_text_that_is_read_is_the_one_that_would_be_written(text in "[A-Za-z0-9+/=_ -]{0,12}") {
            if let Some(bytes) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }

        #[test]
        fn what_is_written_is_read(bytes: Vec<u8>) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}
