"""Kubernetes' DNS records from the same objects as the rules: made (records), looked up (zones), written
(render) and served (serve).
"""
