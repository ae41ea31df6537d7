//! Published Kodak curves of other codecs, embedded with their sources.

use serde::Deserialize;

/// One published curve: means over the 24 Kodak pictures at every rate point.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Reference {
    /// Name for the command line.
    pub(super) name: String,
    /// The codec as its authors call it.
    pub(super) codec: String,
    /// The pictures it was measured on.
    #[cfg(test)]
    dataset: String,
    /// Where the numbers were published.
    pub(super) source: String,
    /// Version of that source.
    #[serde(default)]
    pub(super) commit: String,
    /// Rate and quality.
    pub(super) points: Vec<ReferencePoint>,
}

/// One rate point of a published curve.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct ReferencePoint {
    /// Bits per pixel.
    pub(super) bpp: f64,
    /// RGB PSNR in dB.
    pub(super) psnr: f64,
    /// MS-SSIM, where it was published.
    pub(super) ms_ssim: Option<f64>,
}

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        /// Names of the published curves.
        pub(super) const NAMES: &[&str] = &[$($name),*];
        /// The files, in the order of `NAMES`.
        const FILES: &[&str] = &[
            $(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/reference/", $name, ".json"))),*
        ];
    };
}

embedded!(
    "av1-libaom",
    "bpg444",
    "compressai-cheng2020-attn",
    "compressai-factorized",
    "compressai-hyperprior",
    "compressai-mbt2018",
    "compressai-mbt2018-mean",
    "compressai-mbt2018-mean-vbr",
    "cool-chic-5.0",
    "elic",
    "evc-ll",
    "evc-mm",
    "evc-ss",
    "hm",
    "hpcm-large",
    "jpeg-pillow",
    "jpeg2000",
    "mlicpp",
    "shallow-ntc-2layer",
    "shallow-ntc-2layer-sga",
    "vtm-9.1",
    "webp-pillow",
);

/// The curve called `name`.
pub(super) fn named(name: &str) -> Option<Reference> {
    let index = NAMES.iter().position(|known| *known == name)?;
    serde_json::from_str(FILES[index]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_curve_is_whole() {
        for name in NAMES {
            let reference = named(name).unwrap_or_else(|| panic!("{name} does not parse"));
            assert_eq!(&reference.name, name);
            assert_eq!(reference.dataset, "kodak");
            assert!(
                reference.source.contains(':') && reference.points.len() >= 4,
                "{name}"
            );
        }
        assert!(named("unheard-of").is_none());
    }
}
