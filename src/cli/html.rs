//! What the HTML pages share: one file each, that needs no network.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::error::{Error, Result};
use crate::picture::Image;

/// The style of all pages.
pub(super) const STYLE: &str = include_str!("page.css");

/// Text made safe for XML and HTML content and attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Control characters are not allowed in XML at all.
            other if other.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

/// Replaces every `{{name}}` of the template; what is filled in is not looked at again.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (name, after) = after
            .split_once("}}")
            .expect("the template closes what it opens");
        let value = values.iter().find(|(known, _)| *known == name);
        out.push_str(value.expect("the template names known values").1);
        rest = after;
    }
    out + rest
}

/// A picture as lossless WebP in a data URI.
pub(super) fn data_uri(picture: &Image) -> Result<String> {
    let mut file = Vec::new();
    write_rgb(picture, WebPEncoder::new_lossless(&mut file))?;
    Ok(format!(
        "data:image/webp;base64,{}",
        BASE64_STANDARD.encode(&file)
    ))
}

/// Writes a picture's colors in the format of an encoder of the `image` crate.
pub(super) fn write_rgb(picture: &Image, encoder: impl ImageEncoder) -> Result<()> {
    let (width, height) = (picture.width, picture.height);
    encoder
        .write_image(&picture.rgb, width, height, ExtendedColorType::Rgb8)
        .map_err(|error| Error::Image(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_in_text_is_not_filled_again() {
        assert_eq!(
            fill("<{{a}}|{{b}}>", &[("a", "{{b}}"), ("b", "2")]),
            "<{{b}}|2>"
        );
    }
}
