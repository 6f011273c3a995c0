//! Recognises values shaped like well-known providers' keys, which must not be put where nothing is
//! secret. A guard against mistakes: it knows shapes, not secrets.

/// The provider whose key a value looks like.
pub(crate) fn provider_of(value: &str) -> Option<&'static str> {
    if value.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    // A key is as bad after "Bearer ", in "KEY=…", in the user info of a URL, and in a JSON text.
    value
        .split(is_around_keys)
        .map(|word| word.trim_start_matches('/'))
        .find_map(|word| SHAPES.iter().find(|shape| shape.fits(word)))
        .map(|shape| shape.provider)
}

/// What stands before or after a key in a longer text. Not `/`, so that the path of a URL, which
/// names things rather than unlocking them, stays one word with its beginning.
fn is_around_keys(c: char) -> bool {
    c.is_whitespace() || r#""'`=:@,;&?#|\<>()[]{}"#.contains(c)
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~+/".contains(&byte)
}

struct Shape {
    prefix: &'static str,
    at_least: usize,
    provider: &'static str,
}

impl Shape {
    fn fits(&self, word: &str) -> bool {
        word.len() >= self.at_least
            && word.strip_prefix(self.prefix).is_some_and(|rest| rest.bytes().all(is_key_byte))
    }
}

const fn shape(prefix: &'static str, at_least: usize, provider: &'static str) -> Shape {
    Shape { prefix, at_least, provider }
}

/// Documented prefixes, with a length below which a value is rather a word than a key.
const SHAPES: [Shape; 40] = [
    shape("sk-ant-", 24, "an Anthropic key"),
    shape("sk-or-", 24, "an OpenRouter key"),
    shape("sk-", 24, "an OpenAI key"),
    shape("AIza", 35, "a Google API key"),
    shape("ya29.", 24, "a Google access token"),
    shape("GOCSPX-", 24, "a Google client secret"),
    shape("AKIA", 20, "an AWS access key"),
    shape("ASIA", 20, "an AWS access key"),
    shape("ABSK", 40, "an AWS Bedrock key"),
    shape("ghp_", 24, "a GitHub token"),
    shape("gho_", 24, "a GitHub token"),
    shape("ghu_", 24, "a GitHub token"),
    shape("ghs_", 24, "a GitHub token"),
    shape("ghr_", 24, "a GitHub token"),
    shape("github_pat_", 24, "a GitHub token"),
    shape("glpat-", 20, "a GitLab token"),
    shape("xoxa-", 20, "a Slack token"),
    shape("xoxb-", 20, "a Slack token"),
    shape("xoxp-", 20, "a Slack token"),
    shape("xoxr-", 20, "a Slack token"),
    shape("xapp-", 20, "a Slack token"),
    shape("hf_", 24, "a Hugging Face token"),
    shape("gsk_", 24, "a Groq key"),
    shape("xai-", 24, "an xAI key"),
    shape("pplx-", 24, "a Perplexity key"),
    shape("r8_", 24, "a Replicate token"),
    shape("npm_", 24, "an npm token"),
    shape("pypi-", 24, "a PyPI token"),
    shape("dop_v1_", 24, "a DigitalOcean token"),
    shape("sk_live_", 20, "a Stripe key"),
    shape("sk_test_", 20, "a Stripe key"),
    shape("rk_live_", 20, "a Stripe key"),
    shape("whsec_", 20, "a Stripe webhook secret"),
    shape("SG.", 40, "a SendGrid key"),
    shape("lin_api_", 20, "a Linear key"),
    shape("ntn_", 24, "a Notion token"),
    shape("sbp_", 24, "a Supabase token"),
    shape("msk_live_", 20, "a MIOSA key"),
    shape("mpk_live_", 20, "a MIOSA key"),
    shape("eyJhbGciOi", 40, "a JSON web token"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_recognised() {
        for (value, provider) in [
            ("sk-ant-api03-AAAAAAAAAAAAAAAAAAAAAAAA", "an Anthropic key"),
            ("sk-proj-AAAAAAAAAAAAAAAAAAAAAAAA", "an OpenAI key"),
            ("Bearer sk-proj-AAAAAAAAAAAAAAAAAAAAAAAA", "an OpenAI key"),
            (" ghp_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", "a GitHub token"),
            ("AKIAIOSFODNN7EXAMPLE", "an AWS access key"),
            ("ANTHROPIC_API_KEY=sk-ant-api03-AAAAAAAAAAAAAAAAAAAAAAAA", "an Anthropic key"),
            ("A=b;export KEY='sk-ant-api03-AAAAAAAAAAAAAAAAAAAAAAAA'", "an Anthropic key"),
            ("https://x:ghp_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@github.com/a/b", "a GitHub token"),
            ("https://ghp_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@github.com/a/b", "a GitHub token"),
            ("https://example.com/?key=AIzaAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&a=b", "a Google API key"),
            (r#"{"key":{"id":"sk-proj-AAAAAAAAAAAAAAAAAAAAAAAA","n":1}}"#, "an OpenAI key"),
            (r#"--header "authorization: Bearer sk-proj-AAAAAAAAAAAAAAAAAAAAAAAA""#, "an OpenAI key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "a private key"),
        ] {
            assert_eq!(provider_of(value), Some(provider), "{value}");
        }
    }

    #[test]
    fn what_is_no_key_passes() {
        for value in [
            "",
            "claude-sonnet-4.6",
            "/workspace",
            "miosa-managed:anthropic/workspace-claude",
            "sk-learn",
            "npm_config_registry",
            "https://example.com/sk-ant-docs",
            "https://example.com/sk-learn-and-a-long-name-of-a-page?sk=learn",
            r#"{"model":"claude-sonnet-4.6","tools":["sk-learn"]}"#,
            "sk-is-a-prefix, and this is a sentence",
        ] {
            assert_eq!(provider_of(value), None, "{value}");
        }
    }
}
