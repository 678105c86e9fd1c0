"""One result model, rendered last: JSON, Markdown and a single HTML file that agree to the last digit."""
