"""What ``rekey report`` gives out: a line an asset, redirects, one page."""
