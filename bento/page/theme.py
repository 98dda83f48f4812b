"""The page's colours and type for Gradio's own components; page.css takes them up for the rest."""

import gradio as gr

# Only what the visitor's system has: nothing is fetched.
SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

#        variable of Gradio's: light, dark
COLOURS = {
    "body_background_fill": ("#f7f4ee", "#14171a"),
    "body_text_color": ("#23211d", "#e9e5dc"),
    "body_text_color_subdued": ("#5f5a50", "#aaa598"),
    "background_fill_primary": ("#fffdf9", "#1b1f23"),
    "background_fill_secondary": ("#f1ede4", "#22272c"),
    "block_background_fill": ("#fffdf9", "#1b1f23"),
    "block_border_color": ("#e2dccf", "#30363c"),
    "block_label_background_fill": ("#fffdf9", "#1b1f23"),
    "block_label_text_color": ("#5f5a50", "#aaa598"),
    "block_title_text_color": ("#3b3832", "#d4cfc4"),
    "block_info_text_color": ("#5f5a50", "#aaa598"),
    "border_color_primary": ("#e2dccf", "#30363c"),
    "border_color_accent": ("#0e5a4c", "#74cdb4"),
    "color_accent_soft": ("#dcebe6", "#1f3a34"),
    "link_text_color": ("#0e5a4c", "#74cdb4"),
    "link_text_color_hover": ("#0a4439", "#9be0cc"),
    "link_text_color_visited": ("#0e5a4c", "#74cdb4"),
    "button_primary_background_fill": ("#0e5a4c", "#74cdb4"),
    "button_primary_background_fill_hover": ("#0a4439", "#9be0cc"),
    "button_primary_text_color": ("#ffffff", "#0d1513"),
    "button_primary_text_color_hover": ("#ffffff", "#0d1513"),
    "button_secondary_background_fill": ("#fffdf9", "#22272c"),
    "button_secondary_background_fill_hover": ("#f1ede4", "#2a3036"),
    "button_secondary_text_color": ("#3b3832", "#e9e5dc"),
    "button_secondary_text_color_hover": ("#23211d", "#ffffff"),
    "button_secondary_border_color": ("#cfc7b6", "#414951"),
    "input_background_fill": ("#fffdf9", "#1b1f23"),
    "input_background_fill_focus": ("#ffffff", "#1d2226"),
    "input_border_color": ("#cfc7b6", "#414951"),
    "input_border_color_focus": ("#0e5a4c", "#74cdb4"),
    "input_placeholder_color": ("#6b665b", "#9a9588"),
    "slider_color": ("#0e5a4c", "#74cdb4"),
    "checkbox_background_color_selected": ("#0e5a4c", "#2f8f78"),
    "checkbox_border_color_selected": ("#0e5a4c", "#74cdb4"),
    "checkbox_label_background_fill": ("#fffdf9", "#22272c"),
    "checkbox_label_background_fill_selected": ("#dcebe6", "#1f3a34"),
    "checkbox_label_text_color": ("#3b3832", "#e9e5dc"),
}
SHAPES = {
    "block_radius": "10px",
    "block_shadow": "none",
    "block_border_width": "0px",
    "button_large_radius": "8px",
    "button_medium_radius": "8px",
    "button_small_radius": "999px",
    "button_border_width": "1px",
    "button_primary_border_color": "transparent",
    "button_primary_border_color_dark": "transparent",
    "button_transition": "background-color .15s",
    "input_radius": "8px",
    "input_border_width": "1px",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "container_radius": "10px",
}


def theme() -> gr.themes.Base:
    """Gradio's plainest theme in our colours."""
    settings = dict(SHAPES)
    for name, (light, dark) in COLOURS.items():
        settings |= {name: light, f"{name}_dark": dark}
    return gr.themes.Base(primary_hue="emerald", neutral_hue="stone", font=SANS, font_mono=MONO).set(**settings)
