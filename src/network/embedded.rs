//! The models that the library carries.

/// A model file that the library carries.
pub(crate) struct Embedded {
    /// Its name.
    pub name: &'static str,
    /// Its digest, whose first 8 bytes are the id by which files name it.
    pub digest: [u8; 32],
    /// The file.
    pub bytes: &'static [u8],
}

/// All of them.
pub(crate) static ALL: [Embedded; 2] = [
    Embedded {
        name: "base",
        digest: digest_of("eac05de51ca1b20d2f2f48169e915a41b903745a1363b8773c9641eeb398bbe4"),
        bytes: include_bytes!("../../weights/base.safetensors"),
    },
    Embedded {
        name: "base-ssim",
        digest: digest_of("6986f99511387d9d5a23dec45c9036188ee8b4e42f27769f95e0f0deec2528b1"),
        bytes: include_bytes!("../../weights/base-ssim.safetensors"),
    },
];

/// The place of that trained for squared error.
pub(crate) const BASE: usize = 0;

/// The place of that trained on from it for what people see.
pub(crate) const BASE_SSIM: usize = 1;

/// A digest from its hexadecimal digits.
const fn digest_of(digits: &str) -> [u8; 32] {
    let digits = digits.as_bytes();
    assert!(digits.len() == 64, "a digest has 64 digits");
    let mut digest = [0; 32];
    let mut at = 0;
    while at < digits.len() {
        let digit = match digits[at] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("a hexadecimal digit"),
        };
        digest[at / 2] = digest[at / 2] << 4 | digit;
        at += 1;
    }
    digest
}

/// The one of this name.
#[cfg(feature = "cli")]
pub(crate) fn named(name: &str) -> Option<&'static Embedded> {
    ALL.iter().find(|model| model.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::integer::{IntegerWeights, digest};

    #[test]
    fn names_and_ids_are_those_of_the_files() {
        for model in &ALL {
            let digest = digest(model.bytes).expect("a model file");
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(
                digest == model.digest,
                "{} has the digest {hex}",
                model.name
            );
            let weights = IntegerWeights::from_bytes(model.bytes).expect("it is valid");
            assert_eq!(weights.config.name, model.name);
        }
    }

    /// What the binary carries of each model.
    #[test]
    fn models_take_no_more_than_ten_and_a_half_megabytes() {
        for model in &ALL {
            assert!(model.bytes.len() <= 10_500_000, "{}", model.name);
        }
    }
}
