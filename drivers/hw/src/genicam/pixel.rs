//! Pixel formats by the names of the standard (PFNC). Pure.

use mimicd_device::PixelFormat;

const NAMES: [(PixelFormat, &str); 21] = [
    (PixelFormat::Mono8, "Mono8"),
    (PixelFormat::Mono10, "Mono10"),
    (PixelFormat::Mono12, "Mono12"),
    (PixelFormat::Mono16, "Mono16"),
    (PixelFormat::BayerRg8, "BayerRG8"),
    (PixelFormat::BayerGb8, "BayerGB8"),
    (PixelFormat::BayerGr8, "BayerGR8"),
    (PixelFormat::BayerBg8, "BayerBG8"),
    (PixelFormat::BayerRg10, "BayerRG10"),
    (PixelFormat::BayerGb10, "BayerGB10"),
    (PixelFormat::BayerGr10, "BayerGR10"),
    (PixelFormat::BayerBg10, "BayerBG10"),
    (PixelFormat::BayerRg12, "BayerRG12"),
    (PixelFormat::BayerGb12, "BayerGB12"),
    (PixelFormat::BayerGr12, "BayerGR12"),
    (PixelFormat::BayerBg12, "BayerBG12"),
    (PixelFormat::BayerRg16, "BayerRG16"),
    (PixelFormat::BayerGb16, "BayerGB16"),
    (PixelFormat::BayerGr16, "BayerGR16"),
    (PixelFormat::BayerBg16, "BayerBG16"),
    (PixelFormat::Yuyv, "YUV422_8"),
];

/// The standard's name of `format`.
pub fn name_of(format: PixelFormat) -> &'static str {
    NAMES.iter().find(|(own, _)| *own == format).map_or("", |(_, name)| name)
}

/// The format that the standard calls `name`, if it is taken.
pub fn format_of(name: &str) -> Option<PixelFormat> {
    NAMES.iter().find(|(_, own)| *own == name).map(|(format, _)| *format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back() {
        for (format, name) in NAMES {
            assert_eq!((name_of(format), format_of(name)), (name, Some(format)));
        }
        assert_eq!(format_of("Mono12Packed"), None);
    }
}
