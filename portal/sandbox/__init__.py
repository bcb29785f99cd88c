"""The sandbox shop: a small store of our own with Magento's REST shapes, in a process of its own.

It imports nothing of the portal's but its own folder, so that it stays light.
"""
